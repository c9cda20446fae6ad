/** Which model answers, and whether it can be reached. */

import { createBackend } from "./backend.js";
import { element } from "./dom.js";
import { askKey, refuseWithoutKey } from "./key_dialog.js";
import { hideNotice, keep, notify, showState } from "./notices.js";
import { say } from "./speech.js";
import { changed, state } from "./state.js";

export const backend = createBackend();
const SECONDS_BETWEEN_LOOKS = 3;
let watch = 0;

export function showRest() {
  showState(state.lost ? "Not reachable" : "Ready", state.lost ? "lost" : "ready");
}

export function showModel() {
  const { model } = state;
  element("model").textContent = model || "TinyLM";
  document.title = model ? model + " · TinyLM" : "TinyLM";
  element("greeting").textContent = model ? "Say hello to " + model : "Say hello";
}

/** Ask which model answers. */
export async function askModel() {
  const [model] = await backend.models();
  state.model = model?.id ?? "Model";
  state.contextLength = model?.context_length ?? 0;
  keep("model", state.model);
  showModel();
}

/** Get ready to be asked. `quiet`: still out of reach is nothing new. */
export async function connect(quiet = false) {
  clearTimeout(watch);
  try {
    await backend.ready((part, what) => showState(`${what} ${Math.round(100 * part)} %`, "waiting"));
    await askModel();
    if (state.lost) {
      hideNotice();
      say("Connected again");
    }
    state.lost = false;
    if (state.running) return;
    showRest();
    changed();
  } catch (error) {
    if (error.kind === "gone") return lose("The server cannot be reached. Is it running, and are you on its network?", quiet);
    state.lost = false;
    showState(error.kind === "locked" ? "Asks for a key" : "Not ready", "waiting");
    if (error.kind !== "locked") return notify(error.message, [["Try again", () => connect()]]);
    if (await askKey()) return connect();
    refuseWithoutKey(connect);
  }
}

/** Say that the model is out of reach, and look for it until it is back. */
export function lose(text, quiet = false) {
  state.lost = true;
  showRest();
  if (!quiet) notify(text, [["Try again", () => connect()]]);
  clearTimeout(watch);
  watch = setTimeout(connect, 1000 * SECONDS_BETWEEN_LOOKS, true);
}

/** Which model answers, and whether it can be reached. */

import { createBackend } from "./backend.js";
import { element } from "./dom.js";
import { keep } from "./keeping.js";
import { askKey, refuseWithoutKey } from "./key_dialog.js";
import { hideNotice, notify, showState } from "./notices.js";
import { say } from "./speech.js";
import { changed, settings, state } from "./state.js";

export const backend = createBackend();
const SECONDS_BETWEEN_LOOKS = 3;
const listeners = [];
let watch = 0;

/** Call a function whenever the model can be asked again. */
export const onConnected = (listener) => listeners.push(listener);

export function showRest() {
  showState(state.lost ? "Not reachable" : "Ready", state.lost ? "lost" : "ready");
}

export function showModel() {
  element("place").textContent = backend.place ?? "The model is a part of this page. What you write stays in this browser.";
  const { model } = state;
  element("model").textContent = model || "TinyLM";
  document.title = model ? model + " · TinyLM" : "TinyLM";
  element("greeting").textContent = model ? "Say hello to " + model : "Say hello";
}

/** Ask which models there are, and take the one that is set, or the first. */
export async function askModel() {
  state.models = await backend.models();
  const ids = state.models.map(({ id }) => id);
  state.model = ids.includes(settings.model) ? settings.model : ids[0] ?? "Model";
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
    for (const listener of listeners) listener();
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
  watch = setTimeout(lookAgain, 1000 * SECONDS_BETWEEN_LOOKS);
}

async function lookAgain() {
  try {
    await backend.health();
  } catch (error) {
    if (error.kind === "gone") return lose("", true);
  }
  connect(true);
}

/** The message field: write and send. What is written stays with its conversation until it is sent. */

import { showMeter } from "./context_meter.js";
import { element, focusText } from "./dom.js";
import { endEdit } from "./edit_drafts.js";
import { sends } from "./editor.js";
import { keep } from "./keeping.js";
import { reply, stop } from "./reply.js";
import { toEnd } from "./scrolling.js";
import { say } from "./speech.js";
import { state } from "./state.js";
import { kept } from "./storage.js";

const text = element("text");

/** Where a conversation's draft is kept; new conversations share one. */
const draftName = ({ id, messages }) => "draft." + (messages.length ? id : "new");

function fitText() {
  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
  element("send").disabled = !text.value.trim();
}

/** Show what was being written in the conversation that is shown. */
export function showDraft() {
  text.value = kept.get(draftName(state.current)) ?? "";
  fitText();
}

export const forgetDraft = (conversation) => kept.remove(draftName(conversation));

function noteDraft() {
  if (text.value) keep(draftName(state.current), text.value);
  else forgetDraft(state.current);
  fitText();
  showMeter(text.value);
}

/** Send a message as the user's, and ask for a reply. */
export function submit(content) {
  if (state.running) return say("Wait for the reply, or stop it.");
  if (!content.trim()) return;
  const { current } = state;
  current.time = Date.now();
  current.messages.push({ role: "user", content: content.trim(), time: current.time, first: current.first });
  endEdit();
  toEnd(true);
  focusText();
  reply();
}

function submitText() {
  if (state.running || !text.value.trim()) return submit(text.value);
  const content = text.value;
  forgetDraft(state.current);
  text.value = "";
  fitText();
  submit(content);
}

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submitText();
});
text.addEventListener("input", noteDraft);
text.addEventListener("keydown", (event) => {
  if (sends(event)) {
    event.preventDefault();
    submitText();
  } else if (event.key === "ArrowUp" && !text.value) {
    event.preventDefault();
    text.dispatchEvent(new CustomEvent("edit-last"));
  }
});
if (matchMedia("(pointer: coarse)").matches) text.enterKeyHint = "enter";
element("stop").addEventListener("click", stop);
for (const starter of element("starters").children) starter.addEventListener("click", () => submit(starter.textContent));

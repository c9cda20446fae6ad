/** The message field: write, send, edit the last message. */

import { lastUserIndex } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { hideNotice } from "./notices.js";
import { reply, stop } from "./reply.js";
import { toEnd } from "./scrolling.js";
import { say } from "./speech.js";
import { changed, state } from "./state.js";

const text = element("text");

export function fitText() {
  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
  element("send").disabled = !text.value.trim();
}

function submit(content) {
  if (state.running) return say("Wait for the reply, or stop it.");
  if (!content.trim()) return;
  const { current } = state;
  const { messages } = current;
  if (state.editing) {
    // What was forgotten for the old text alone may be seen again
    const index = lastUserIndex(messages);
    current.first = messages[index].first ?? 0;
    messages.length = index;
  }
  current.time = Date.now();
  messages.push({ role: "user", content: content.trim(), first: current.first });
  state.editing = false;
  text.value = "";
  fitText();
  toEnd(true);
  focusText();
  reply();
}

export function startEdit() {
  const index = lastUserIndex(state.current.messages);
  if (state.running || index < 0) return;
  hideNotice();
  state.editing = true;
  text.value = state.current.messages[index].content;
  changed();
  fitText();
  focusText(true);
}

export function endEdit() {
  if (!state.editing) return;
  state.editing = false;
  text.value = "";
  fitText();
  changed();
}

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit(text.value);
});
text.addEventListener("input", fitText);
text.addEventListener("edit-last", startEdit);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit(text.value);
  } else if (event.key === "ArrowUp" && !text.value && state.current.messages.length) {
    event.preventDefault();
    startEdit();
  }
});
element("stop").addEventListener("click", stop);
element("cancel-edit").addEventListener("click", () => { endEdit(); focusText(true); });
for (const starter of element("starters").children) starter.addEventListener("click", () => submit(starter.textContent));

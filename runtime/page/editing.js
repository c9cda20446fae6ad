/** Changes to messages: edit, delete, send again, another version. Each can be undone or leaves what it replaces. */

import { forgetCounts, lastUserIndex } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { beginEdit, endEdit } from "./edit_drafts.js";
import { keepConversation } from "./keeping.js";
import { articleFor } from "./messages.js";
import { hideNotice, notify } from "./notices.js";
import { reply, setWaiting, stop } from "./reply.js";
import { say } from "./speech.js";
import { changed, state } from "./state.js";
import { removeConversation } from "./store.js";
import { showVersion, versionCount, withoutShown } from "./versions.js";

const field = () => element("messages").querySelector(".editor textarea");

export function edit(message) {
  if (state.running) return;
  hideNotice();
  beginEdit(message);
  changed();
  field()?.focus();
}

export function editLast() {
  const message = state.current.messages[lastUserIndex(state.current.messages)];
  if (message) edit(message);
}

export function cancelEdit() {
  if (!state.editing) return;
  endEdit();
  changed();
  focusText();
}

function keepChange(conversation) {
  forgetCounts(conversation);
  keepConversation(conversation);
}

/** Change only the text. */
export function save(message, content) {
  if (!content.trim()) return say("An empty message is not kept. Delete it instead.");
  message.content = message.role === "user" ? content.trim() : content.trimEnd();
  keepChange(state.current);
  cancelEdit();
  say("Saved");
}

/** Change a message of the user and ask for a reply to it: what came after it goes, and can be had back. */
export function sendAgain(message, content) {
  const { current } = state;
  const index = current.messages.indexOf(message);
  if (state.running || index < 0 || !content.trim()) return;
  const before = structuredClone(current);
  // What was forgotten for the old text alone may be seen again
  current.first = message.first ?? 0;
  current.messages.splice(index);
  current.time = Date.now();
  current.messages.push({ role: "user", content: content.trim(), time: current.time, first: current.first });
  forgetCounts(current);
  endEdit();
  focusText();
  reply();
  const gone = before.messages.length - index - 2; // beside the message and its reply
  if (gone > 0) notify(`${gone} later ${gone === 1 ? "message was" : "messages were"} taken out.`, [["Undo", () => restore(before)]]);
}

/** Delete a message, or of a reply with several versions the one that is shown. */
export function remove(message) {
  const { current } = state;
  const index = current.messages.indexOf(message);
  if (state.running || index < 0) return;
  const before = structuredClone(current);
  const left = versionCount(message) > 1 ? [withoutShown(message)] : [];
  current.messages.splice(index, 1, ...left);
  if (!left.length && index < current.first) current.first -= 1;
  endEdit();
  if (state.waiting === current.id) setWaiting(null);
  forgetCounts(current);
  if (current.messages.length) keepConversation(current);
  else removeConversation(current.id);
  changed();
  notify(left.length ? "This version is deleted." : "The message is deleted.", [["Undo", () => restore(before)]]);
  focusText();
}

function restore(before) {
  stop();
  state.running = null;
  hideNotice();
  keepConversation(before);
  if (state.current.id === before.id) state.current = before;
  changed();
  focusText();
}

export function turnVersion(message, version) {
  if (state.running) return;
  showVersion(message, version);
  keepChange(state.current);
  const pressed = document.activeElement?.getAttribute("aria-label");
  changed();
  const buttons = [...articleFor(message).querySelectorAll(".versions button:enabled")];
  (buttons.find((each) => each.getAttribute("aria-label") === pressed) ?? buttons[0])?.focus();
  say(message.content);
}

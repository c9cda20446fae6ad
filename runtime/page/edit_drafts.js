/** A change to a message that is not saved yet: it stays with its conversation, also when the page is loaded anew. */

import { keep } from "./keeping.js";
import { state } from "./state.js";
import { kept } from "./storage.js";

const name = ({ id }) => "edit." + id;

export const forgetEdit = (conversation) => kept.remove(name(conversation));

/** The message is changed in its place from now on. */
export function beginEdit(message) {
  state.editing = message;
}

/** No message is being changed any more. */
export function endEdit() {
  state.editing = null;
  forgetEdit(state.current);
}

/** Keep what is written in the place of a message. */
export function noteEdit(message, content) {
  keep(name(state.current), { index: state.current.messages.indexOf(message), was: message.content, content });
}

/** What was written in the place of a message: at first its text. */
export function editedText(message) {
  const { index, was, content } = kept.get(name(state.current)) ?? {};
  const isKept = state.current.messages[index] === message && was === message.content;
  return isKept ? content : message.content;
}

/** Go on with the change that the conversation was left with. */
export function resumeEdit() {
  const { index, was } = kept.get(name(state.current)) ?? {};
  const message = state.current.messages[index];
  state.editing = message?.content === was && message ? message : null;
}

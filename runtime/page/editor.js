/** A message that is being changed, in its place. */

import { button, make } from "./dom.js";
import { editedText, noteEdit } from "./edit_drafts.js";

/** A form with the message's text. `actions`: save(message, text), sendAgain(message, text), cancelEdit(). */
export function editorOf(message, actions) {
  const isUser = message.role === "user";
  const form = make("form", "editor");
  const field = make("textarea", "field");
  field.dir = "auto";
  field.value = editedText(message);
  field.setAttribute("aria-label", isUser ? "Your message" : "The reply");
  const fit = () => {
    field.style.height = "auto";
    field.style.height = field.scrollHeight + 2 + "px";
  };
  const send = () => actions.sendAgain(message, field.value);
  const save = () => actions.save(message, field.value);
  const buttons = make("div", "end");
  buttons.append(button("", "Cancel", null, actions.cancelEdit), button(isUser ? "framed" : "main", "Save", null, save));
  if (isUser) buttons.append(button("main", "Send again", null, send));
  form.append(field, buttons);
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", () => {
    fit();
    noteEdit(message, field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (!sends(event)) return;
    event.preventDefault();
    if (isUser) send();
    else save();
  });
  requestAnimationFrame(fit);
  return form;
}

/** Whether a key sends: Enter, but on touch screens, whose keyboards have no Shift and Enter, only with Ctrl or Cmd. */
export function sends({ key, shiftKey, ctrlKey, metaKey, isComposing }) {
  if (key !== "Enter" || isComposing || shiftKey) return false;
  return ctrlKey || metaKey || !matchMedia("(pointer: coarse)").matches;
}

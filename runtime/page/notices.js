/** Notices above the message field, one at a time; and the line that says what goes on. */

import { button, element, focusText } from "./dom.js";
import { say } from "./speech.js";

const notice = element("notice");

/** `actions`: pairs of a label and what it does. */
export function notify(text, actions = [], closable = true) {
  element("notice-text").textContent = text;
  const buttons = actions.map(([label, action]) => button("framed", label, null, action));
  if (closable) buttons.push(button("icon", "Close the notice", "close", () => { hideNotice(); focusText(); }));
  element("notice-actions").replaceChildren(...buttons);
  notice.hidden = false;
  say(text);
}

export function hideNotice() {
  if (notice.contains(document.activeElement)) focusText(true);
  notice.hidden = true;
}

export const noticeIsShown = () => !notice.hidden;

/** `kind`: ready, lost, waiting, or nothing while a reply is made. */
export function showState(text, kind = "") {
  element("state").textContent = text;
  element("state").className = kind;
}

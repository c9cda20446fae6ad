/** What a screen reader is told: whole sentences as they come, each once. */

import { element, make } from "./dom.js";

export const say = (text) => text.trim() && element("spoken").append(make("p", "", text.trim()));

export const hush = () => element("spoken").replaceChildren();

/** A text without the marks of Markdown, which are not to be read out. */
const withoutMarks = (text) => text.replace(/\*\*|__|~~|`+|^#{1,6} |^> /gm, "");

/** Says a reply that comes in pieces. */
export function narrator() {
  let rest = "";
  let last = performance.now();
  return {
    hear(text) {
      rest += text;
      const end = Math.max(...[". ", "! ", "? ", "\n"].map((mark) => rest.lastIndexOf(mark)));
      if (end < 0 || performance.now() - last < 2000) return;
      say(withoutMarks(rest.slice(0, end + 1)));
      rest = rest.slice(end + 1);
      last = performance.now();
    },
    finish() {
      say(withoutMarks(rest));
    },
  };
}

/** The end of the conversation stays in view, unless the reader scrolls up. */

import { element, focusText } from "./dom.js";

const log = element("log");
let follows = true;
let end = 0; // how far down the end is

/** Scroll to the end if it is followed; `always`: from now on, it is. */
export function toEnd(always = false) {
  follows ||= always;
  end = log.scrollHeight - log.clientHeight;
  if (follows) log.scrollTop = end;
}

log.addEventListener("scroll", () => {
  // Where the end has moved, it was not the reader who scrolled
  if (log.scrollHeight - log.clientHeight === end) follows = end - log.scrollTop < 48;
  toEnd();
  element("latest").hidden = follows;
});
new ResizeObserver(() => toEnd()).observe(log); // a notice or the keyboard takes from its height
element("latest").addEventListener("click", () => { toEnd(true); focusText(); });

// Where an on-screen keyboard lies over the page instead of making it smaller (Safari)
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale > 1.01) return; // zoomed by hand
  document.documentElement.style.setProperty("--visible-height", visualViewport.height + "px");
  scrollTo(0, 0);
  toEnd();
});

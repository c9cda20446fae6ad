/**
 * The end of the conversation stays in view, unless the reader scrolls up.
 *
 * What the page itself scrolls to is noted: whatever else the place is at was the reader's doing, or a shorter text's. That holds
 * in the frame in which the text grows, too.
 */

import { element, focusText } from "./dom.js";

const NEAR = 48; // from so near the end on, it is followed again
const log = element("log");
let follows = true;
let own = 0; // where the page last saw the reader, or brought them

/** Notice what the reader has done since. */
function look() {
  const at = log.scrollTop;
  const left = log.scrollHeight - log.clientHeight - at;
  if (at < own - 1) follows = left < 2;
  else if (at > own + 1) follows = left < NEAR;
  own = at;
}

/** Scroll to the end if it is followed; `always`: from now on, it is. */
export function toEnd(always = false) {
  look();
  follows ||= always;
  if (follows) {
    log.scrollTop = log.scrollHeight;
    own = log.scrollTop;
  }
  element("latest").hidden = follows || log.scrollHeight - log.clientHeight - own < 2;
}

log.addEventListener("scroll", () => toEnd());
new ResizeObserver(() => toEnd()).observe(log); // a notice or the keyboard takes from its height
element("latest").addEventListener("click", () => { toEnd(true); focusText(); });

// Where an on-screen keyboard lies over the page instead of making it smaller (Safari)
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale > 1.01) return; // zoomed by hand
  document.documentElement.style.setProperty("--visible-height", visualViewport.height + "px");
  scrollTo(0, 0);
  toEnd();
});

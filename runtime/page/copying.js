/** Copies to the clipboard. */

import { make } from "./dom.js";
import { say } from "./speech.js";

/** Copy a text, and say so on the button that was pressed. */
export async function copy(text, pressed) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages without https; selecting and copying still works there
    const field = make("textarea", "only-spoken");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    pressed.focus();
  }
  const use = pressed.querySelector("use");
  const label = pressed.getAttribute("aria-label");
  use.setAttribute("href", "#check");
  pressed.setAttribute("aria-label", "Copied");
  say("Copied");
  setTimeout(() => {
    use.setAttribute("href", "#copy");
    if (label === "Copied") return; // pressed twice
    pressed.setAttribute("aria-label", label);
  }, 1500);
}

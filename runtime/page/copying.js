/** Copies to the clipboard. */

import { say } from "./speech.js";

/** Copy the text of a node, and say so on the button that was pressed. */
export async function copy(node, pressed) {
  try {
    await navigator.clipboard.writeText(node.textContent);
  } catch {
    // Browsers keep the clipboard from pages without https; selecting and copying still works there
    getSelection().selectAllChildren(node);
    document.execCommand("copy");
    getSelection().removeAllRanges();
  }
  pressed.lastChild.textContent = "Copied";
  say("Copied");
  setTimeout(() => { pressed.lastChild.textContent = "Copy"; }, 1500);
}

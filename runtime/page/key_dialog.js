/** Asks for the API key. */

import { element } from "./dom.js";
import { keep } from "./keeping.js";
import { hideNotice, notify } from "./notices.js";
import { kept } from "./storage.js";

const dialog = element("ask-key");

/** Ask for the key; true once one is kept. */
export function askKey() {
  const had = Boolean(kept.get("key"));
  element("key-problem").textContent = had ? "The server does not take the key that was kept." : "";
  element("key").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "kept"), { once: true });
    dialog.returnValue = "";
  });
}

/** Say that nothing goes on without a key; `again` is called once there is one. */
export function refuseWithoutKey(again) {
  notify("This server asks for an API key.", [["Enter the key", async () => { if (await askKey()) { hideNotice(); again(); } }]]);
}

dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = element("key").value.trim();
  // Headers carry nothing else, and fetch would throw
  if (!/^[\x21-\x7e]+$/.test(key)) {
    element("key-problem").textContent = key ? "A key has only letters, digits and signs, and no spaces." : "Type the key, or cancel.";
    element("key").focus();
    return;
  }
  keep("key", key);
  dialog.close("kept");
});
element("cancel-key").addEventListener("click", () => dialog.close(""));

/** Settings: each takes effect as it is changed. */

import { keepConversation } from "./conversations.js";
import { element } from "./dom.js";
import { keep } from "./notices.js";
import { say } from "./speech.js";
import { settings, state } from "./state.js";
import { kept } from "./storage.js";

const dialog = element("settings");
const darkDevice = matchMedia("(prefers-color-scheme: dark)");

export function showTheme() {
  const dark = settings.theme === "dark" || (settings.theme === "system" && darkDevice.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.querySelector("meta[name=theme-color]").content = dark ? "#17151a" : "#ffffff";
}

darkDevice.addEventListener("change", showTheme);
element("open-settings").addEventListener("click", () => {
  element("system").value = state.current.system;
  element("temperature").value = settings.temperature;
  element("longest").value = settings.longest;
  dialog.querySelector(`[name=theme][value=${settings.theme}]`).checked = true;
  element("key-row").hidden = !kept.get("key");
  dialog.showModal();
});
dialog.addEventListener("input", ({ target }) => {
  if (!target.checkValidity()) return;
  settings[target.name || target.id] = target.value;
  if (target.id === "system") {
    state.current.system = target.value;
    keepConversation(state.current);
  }
  keep("settings", settings);
  showTheme();
});
dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.reportValidity()) dialog.close();
});
element("forget-key").addEventListener("click", () => {
  kept.remove("key");
  element("key-row").hidden = true;
  dialog.querySelector(".main").focus();
  say("The key is forgotten.");
});

/** Settings: each takes effect as it is changed. */

import { showModel } from "./connection.js";
import { forgetCounts } from "./conversations.js";
import { element, make } from "./dom.js";
import { keep, keepConversation } from "./keeping.js";
import { SAMPLING, defaultText } from "./sampling_settings.js";
import { say } from "./speech.js";
import { changed, modelNow, settings, state } from "./state.js";
import { kept } from "./storage.js";

const dialog = element("settings");
const darkDevice = matchMedia("(prefers-color-scheme: dark)");

export function showTheme() {
  const dark = settings.theme === "dark" || (settings.theme === "system" && darkDevice.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.querySelector("meta[name=theme-color]").content = dark ? "#17151a" : "#ffffff";
}

function makeFields() {
  for (const [, name, label, least, most, step, hint] of SAMPLING) {
    const field = make("input", "field");
    Object.assign(field, { id: name, type: "number", min: least, max: most ?? "", step, inputMode: step === 1 ? "numeric" : "decimal" });
    field.setAttribute("aria-describedby", `${name}-hint`);
    const title = make("label", "", label);
    title.htmlFor = name;
    const explained = make("p", "hint", most === null || name === "seed" ? hint : `${least} to ${most}. ${hint}`);
    explained.id = `${name}-hint`;
    const cell = make("div");
    cell.append(title, field, explained);
    element("sampling").append(cell);
  }
}

function showSampling() {
  const defaults = modelNow().defaults ?? {};
  for (const [known, name] of SAMPLING) {
    element(name).value = settings[name];
    element(name).placeholder = defaultText(name, defaults[known]);
  }
  element("use-defaults").disabled = SAMPLING.every(([, name]) => settings[name] === "");
}

function openSettings() {
  element("system").value = state.current.system;
  showSampling();
  element("model-row").hidden = state.models.length < 2;
  element("model-choice").replaceChildren(...state.models.map(({ id }) => new Option(id, id, false, id === state.model)));
  dialog.querySelector(`[name=theme][value=${settings.theme}]`).checked = true;
  element("key-row").hidden = !kept.get("key");
  dialog.showModal();
}

function take(target) {
  if (!target.checkValidity()) return;
  if (target.id === "model-choice") {
    settings.model = state.model = target.value;
    showModel();
    showSampling();
    changed();
  } else {
    settings[target.name || target.id] = target.value;
  }
  if (target.id === "system") {
    state.current.system = target.value;
    forgetCounts(state.current);
    keepConversation(state.current);
  }
  keep("settings", settings);
  element("use-defaults").disabled = SAMPLING.every(([, name]) => settings[name] === "");
  showTheme();
}

makeFields();
darkDevice.addEventListener("change", showTheme);
element("open-settings").addEventListener("click", openSettings);
dialog.addEventListener("input", ({ target }) => take(target));
dialog.addEventListener("close", changed);
dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.reportValidity()) dialog.close();
});
element("use-defaults").addEventListener("click", () => {
  for (const [, name] of SAMPLING) settings[name] = "";
  keep("settings", settings);
  showSampling();
  element(SAMPLING[0][1]).focus();
  say("The model’s own settings are used.");
});
element("forget-key").addEventListener("click", () => {
  kept.remove("key");
  element("key-row").hidden = true;
  dialog.querySelector(".main").focus();
  say("The key is forgotten.");
});

/** Elements, icons, buttons and focus. */

export const element = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#" + name);
  svg.append(use);
  return svg;
}

/** A button; with the class `icon` its label is for screen readers alone. */
export function button(className, label, iconName, action) {
  const made = make("button", className);
  made.type = "button";
  if (iconName) made.append(icon(iconName));
  if (className.includes("icon")) made.setAttribute("aria-label", label);
  else made.append(label);
  made.addEventListener("click", action);
  return made;
}

/** Focus the message field; on touch screens only when asked by `always`, for the keyboard would cover the reply. */
export function focusText(always = false) {
  if (always || matchMedia("(pointer: fine)").matches) element("text").focus();
  else document.activeElement?.blur();
}

/** The list of conversations on narrow screens, where it lies over the page. */

import { element } from "./dom.js";

const side = element("side");

function openSide() {
  side.classList.add("open");
  document.querySelector("main").inert = true;
  element("open-side").setAttribute("aria-expanded", "true");
  element("close-side").focus();
}

export const sideIsOpen = () => side.classList.contains("open");

export function closeSide() {
  if (!sideIsOpen()) return;
  side.classList.remove("open");
  document.querySelector("main").inert = false;
  element("open-side").setAttribute("aria-expanded", "false");
  element("open-side").focus();
}

matchMedia("(min-width: 48rem)").addEventListener("change", closeSide);
element("open-side").addEventListener("click", openSide);
element("close-side").addEventListener("click", closeSide);
element("veil").addEventListener("click", closeSide);

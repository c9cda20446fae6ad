/** Shows the list of conversations, or what was found in them: the latest ones at once, older ones as the list is scrolled. */

import { ageOf, momentOf } from "./dates.js";
import { button, element, make } from "./dom.js";
import { state } from "./state.js";
import { latestFirst } from "./store.js";

const AT_ONCE = 50;
const list = element("conversations");
let most = AT_ONCE;
let found = null; // what the search has found, as summaries; null: no search
let renaming = null; // the id of the conversation whose title is being changed
let key = ""; // of what is shown
let actions = {};

const watcher = new IntersectionObserver((entries) => { if (entries.some(({ isIntersecting }) => isIntersecting)) showMore(); },
  { root: list, rootMargin: "300px" });

function showMore() {
  most += AT_ONCE;
  showList();
}

/** Show these in place of all; null: all. */
export function showFound(summaries) {
  if ((summaries === null) !== (found === null)) list.scrollTop = 0;
  if (summaries === null) most = AT_ONCE;
  found = summaries;
  showList();
}

/** `given`: what its buttons do: open(id), rename(title), exportCurrent(), deleteCurrent(). */
export function showList(given = actions) {
  actions = given;
  const all = found ?? latestFirst();
  const part = all.slice(0, most);
  const { current } = state;
  element("nothing-kept").hidden = all.length > 0;
  element("nothing-kept").textContent = found ? "Nothing found." : "Kept in this browser, once you have written something.";
  element("search-row").hidden = !found && all.length === 0;
  element("export").disabled = !found && all.length === 0;
  const fresh = JSON.stringify([part, current.id, renaming, new Date().toDateString(), all.length > most]);
  if (fresh === key) return;
  key = fresh;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const at = list.scrollTop;
  list.replaceChildren(...groupsOf(part));
  if (all.length > most) {
    const more = button("small", "Show older ones", null, showMore);
    list.append(more);
    watcher.disconnect();
    watcher.observe(more);
  }
  list.scrollTop = at;
  if (renaming) list.querySelector("input")?.select();
  else if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

/** Headings and lists, one of each for each age. */
function groupsOf(part) {
  const nodes = [];
  let age = null;
  for (const summary of part) {
    const its = ageOf(summary.time);
    if (its !== age) {
      age = its;
      const heading = make("h3", "", age);
      heading.id = `age-${nodes.length}`;
      const items = make("ul");
      items.setAttribute("aria-labelledby", heading.id);
      nodes.push(heading, items);
    }
    nodes.at(-1).append(itemOf(summary));
  }
  return nodes;
}

function itemOf(summary) {
  const isCurrent = summary.id === state.current.id;
  const item = make("li", isCurrent ? "current" : "");
  if (isCurrent && renaming === summary.id) {
    item.append(renameForm(summary));
    return item;
  }
  const open = button("open", "", null, () => actions.open(summary.id));
  const title = make("span", "title-line", summary.title);
  title.dir = "auto";
  open.append(title);
  if (summary.snippet) open.append(summary.snippet);
  open.dataset.id = summary.id;
  item.append(open);
  if (isCurrent) {
    open.setAttribute("aria-current", "true");
    const row = make("div", "item-row");
    const time = make("time", "", momentOf(summary.time));
    time.dateTime = new Date(summary.time).toISOString();
    row.append(
      time,
      button("icon", "Rename this conversation", "pencil", () => rename(summary.id)),
      button("icon", "Export this conversation", "save", () => actions.exportCurrent()),
      button("icon", "Delete this conversation", "bin", () => actions.deleteCurrent()),
    );
    item.append(row);
  }
  return item;
}

function rename(id) {
  renaming = id;
  showList();
}

function renameForm({ id, title }) {
  const form = make("form", "rename");
  const field = make("input", "field");
  Object.assign(field, { value: title, maxLength: 80, dir: "auto", enterKeyHint: "done" });
  field.setAttribute("aria-label", "Title");
  const end = (takes) => {
    if (renaming !== id) return;
    renaming = null;
    if (takes && field.value.trim() !== title) actions.rename(field.value.trim());
    showList();
    list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus();
  };
  form.append(field);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    end(true);
  });
  field.addEventListener("blur", () => end(true));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    end(false);
  });
  return form;
}

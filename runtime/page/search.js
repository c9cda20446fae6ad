/** Search in the titles and texts of all conversations. */

import { showFound } from "./conversation_list.js";
import { summaryOf } from "./conversations.js";
import { element, make } from "./dom.js";
import { say } from "./speech.js";
import { someConversations } from "./store.js";

const field = element("search");
let latest = 0; // the number of the search under way
let timer = 0;

/** Without accents and capitals. */
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** A line around the place where a text has what is looked for; null where it has not. */
function snippetOf(text, wanted) {
  let at = text.toLowerCase().indexOf(wanted);
  if (at < 0) at = folded(text).indexOf(folded(wanted));
  if (at < 0) return null;
  const line = make("span", "snippet");
  const begin = Math.max(0, at - 24);
  line.dir = "auto";
  line.append((begin > 0 ? "…" : "") + text.slice(begin, at), make("mark", "", text.slice(at, at + wanted.length)), text.slice(at + wanted.length, at + 80));
  return line;
}

/** What is shown of a conversation in which something was found; null where nothing was. */
function hitIn(conversation, wanted) {
  const summary = summaryOf(conversation);
  for (const { content } of conversation.messages) {
    const snippet = snippetOf(content, wanted);
    if (snippet) return { ...summary, snippet, text: snippet.textContent };
  }
  return folded(summary.title).includes(folded(wanted)) ? summary : null;
}

async function search() {
  const wanted = field.value.trim().toLowerCase();
  const number = ++latest;
  if (!wanted) return showFound(null);
  const found = [];
  for await (const some of someConversations()) {
    if (number !== latest) return;
    for (const conversation of some) {
      const hit = hitIn(conversation, wanted);
      if (hit) found.push(hit);
    }
    found.sort((one, other) => other.time - one.time);
    showFound([...found]);
  }
  if (number !== latest) return;
  showFound(found);
  say(found.length ? `${found.length} found` : "Nothing found");
}

/** Search again, as what is searched has changed. */
export function searchAgain() {
  if (field.value.trim()) search();
}

export function endSearch() {
  field.value = "";
  search();
}

field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, field.value.trim() ? 150 : 0);
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && field.value) {
    event.stopPropagation();
    event.preventDefault();
    endSearch();
  }
});

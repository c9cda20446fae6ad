/** Shows the conversation. What has not changed since it was last shown is left as it is. */

import { lastUserIndex } from "./conversations.js";
import { copy } from "./copying.js";
import { momentOf } from "./dates.js";
import { button, element, make } from "./dom.js";
import { editorOf } from "./editor.js";
import { showMarkdown } from "./markdown.js";
import { toEnd } from "./scrolling.js";
import { changed, state } from "./state.js";
import { versionCount } from "./versions.js";

const list = element("messages");
const border = make("p", "border", "The messages above no longer fit the model’s context: it does not see them any more.");
const shown = new WeakMap(); // message -> {key, article}
const AT_ONCE = 100;
let most = AT_ONCE; // messages that are shown, from the last one backwards
let shownId = ""; // of the conversation

const numberOf = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

const durationOf = (seconds) => (seconds < 0.095 ? `${Math.ceil(1000 * seconds)} ms` : `${numberOf(seconds)} s`);

function figuresOf({ tokens, perSecond, firstToken, ended }) {
  return [
    ended,
    tokens !== undefined && `${numberOf(tokens)} ${tokens === 1 ? "token" : "tokens"}`,
    perSecond && `${numberOf(perSecond)} tokens/s`,
    firstToken && `began after ${durationOf(firstToken)}`,
  ].filter(Boolean).join(" · ");
}

function nameOf(message) {
  if (message.role === "user") return make("h2", "only-spoken", "You");
  const name = make("h2", "", message.model || state.model || "Model");
  name.dir = "auto";
  if (message.time) {
    const time = make("time", "", momentOf(message.time));
    time.dateTime = new Date(message.time).toISOString();
    name.append(time);
  }
  return name;
}

function showText(text, { role, content }) {
  if (role === "user") {
    text.textContent = content;
    text.dir = "auto";
  } else if (content.trim()) showMarkdown(text, content, copy);
  else text.replaceChildren(make("span", "none", "An empty reply"));
}

/** A message's article. `actions`: what its buttons do, by name. */
function articleOf(message, place, actions) {
  const article = make("article", message.role + (place.isForgotten ? " forgotten" : "") + (place.isLast ? " last" : ""));
  article.append(nameOf(message));
  if (place.isEdited) {
    article.append(editorOf(message, actions));
    return article;
  }
  const text = make("div", "text");
  showText(text, message);
  article.append(text, underOf(message, place, actions));
  return article;
}

function underOf(message, place, actions) {
  const isUser = message.role === "user";
  const under = make("div", "under");
  const count = versionCount(message);
  if (!isUser) under.append(button("small icon", "Copy", "copy", ({ currentTarget }) => copy(message.content, currentTarget)));
  if (place.canRetry && !isUser) under.append(button("small icon idle", "Retry", "again", actions.retry));
  under.append(
    button("small icon idle", "Edit", "pencil", () => actions.edit(message)),
    button("small icon idle", "Delete", "bin", () => actions.remove(message)),
  );
  if (count > 1) under.append(versionsElement(message, count, actions));
  if (!isUser) under.append(make("span", "figures", figuresOf(message)));
  if (place.isWaiting) under.append(make("span", "figures", "Not sent yet"));
  if (place.canRetry && isUser) under.prepend(button("small idle", place.isWaiting ? "Send now" : "Get a reply", "again", actions.retry));
  return under;
}

function versionsElement(message, count, actions) {
  const at = message.version ?? 0;
  const group = make("div", "versions idle");
  const step = (label, name, to) => {
    const made = button("small icon", label, name, () => actions.showVersion(message, to));
    made.disabled = to < 0 || to >= count;
    return made;
  };
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Versions of this reply");
  group.append(step("Earlier reply", "back", at - 1), make("span", "", `${at + 1} / ${count}`), step("Later reply", "forward", at + 1));
  return group;
}

function placeOf(message, index) {
  const { current, editing, waiting } = state;
  const { messages, first } = current;
  const isLast = index === messages.length - 1;
  return {
    isForgotten: index < first,
    isLast: index >= lastUserIndex(messages),
    isEdited: editing === message,
    canRetry: isLast && (message.role === "user" || messages[index - 1]?.role === "user"),
    isWaiting: isLast && message.role === "user" && waiting === current.id,
  };
}

function shownArticle(message, index, actions) {
  const place = placeOf(message, index);
  const about = [message.content, figuresOf(message), message.model ?? state.model, message.version, versionCount(message)];
  const key = JSON.stringify([place, about]);
  const known = shown.get(message);
  if (known?.key === key) return known.article;
  const article = articleOf(message, place, actions);
  shown.set(message, { key, article });
  return article;
}

/** The article of a message that is shown. */
export const articleFor = (message) => shown.get(message)?.article;

export function showMessages(actions) {
  const { id, messages, first } = state.current;
  if (shownId !== id) most = AT_ONCE;
  shownId = id;
  const from = Math.max(0, messages.length - most);
  const wanted = messages.slice(from).map((message, index) => shownArticle(message, from + index, actions));
  if (first > from) wanted.splice(first - from, 0, border);
  element("earlier").hidden = from === 0;
  wanted.forEach((node, index) => {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastChild.remove();
  list.classList.toggle("running", Boolean(state.running));
  element("welcome").hidden = messages.length > 0;
  element("send").hidden = Boolean(state.running);
  element("stop").hidden = !state.running;
  toEnd();
}

element("earlier").addEventListener("click", () => {
  const log = element("log");
  const below = log.scrollHeight - log.scrollTop;
  most += AT_ONCE;
  changed();
  log.scrollTop = log.scrollHeight - below;
  list.firstChild.querySelector("button")?.focus({ preventScroll: true });
});

/** A reply at the end that grows as its text comes, a frame at a time. Returns what is called after each piece. */
export function growingMessage(message) {
  const article = make("article", "assistant last");
  const text = make("div", "text");
  const dots = make("span", "dots");
  dots.append(make("i"), make("i"), make("i"));
  text.append(dots);
  article.append(nameOf(message), text);
  list.append(article);
  toEnd(true);
  let asked = false;
  const paint = () => {
    asked = false;
    dots.remove();
    showMarkdown(text, message.content, copy);
    toEnd();
  };
  return () => {
    if (!asked) requestAnimationFrame(paint);
    asked = true;
  };
}

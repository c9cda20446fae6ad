/** Shows the conversation. */

import { lastUserIndex } from "./conversations.js";
import { copy } from "./copying.js";
import { button, element, make } from "./dom.js";
import { toEnd } from "./scrolling.js";
import { state } from "./state.js";

const list = element("messages");

function figuresOf({ tokens, promptTokens, perSecond, ended }) {
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
  return [
    ended,
    tokens !== undefined && `${number(tokens)} ${tokens === 1 ? "token" : "tokens"}`,
    perSecond && `${number(perSecond)} tokens/s`,
    promptTokens !== undefined && `prompt ${number(promptTokens)}`,
  ].filter(Boolean).join(" · ");
}

/** An article; `actions`: what its buttons do, by name. */
function articleOf(message, index, actions) {
  const { messages, first } = state.current;
  const isUser = message.role === "user";
  const isLast = index === messages.length - 1;
  const article = make("article", message.role + (index < first ? " forgotten" : ""));
  const name = make("h2", isUser ? "only-spoken" : "", isUser ? "You" : state.model || "Model");
  const text = make("div", "text", message.content);
  const under = make("div", "under");
  article.append(name, text, under);
  if (!isUser) {
    if (!message.content) text.replaceChildren(make("span", "none", "An empty reply"));
    under.append(button("small", "Copy", "copy", ({ currentTarget }) => copy(text, currentTarget)));
  }
  if (!state.running && isUser && index === lastUserIndex(messages)) {
    under.append(button("small", "Edit", "pencil", actions.edit));
    if (state.editing) article.classList.add("edited");
  }
  if (!state.running && isLast && (isUser || messages[index - 1]?.role === "user")) {
    under.append(button("small", isUser ? "Get a reply" : "Retry", "again", actions.retry));
  }
  if (!isUser) under.append(make("span", "figures", figuresOf(message)));
  return article;
}

export function showMessages(actions) {
  const { messages, first } = state.current;
  const shown = messages.map((message, index) => articleOf(message, index, actions));
  if (first > 0) {
    shown.splice(first, 0, make("p", "border", "The messages above no longer fit the model’s context: it does not see them any more."));
  }
  list.replaceChildren(...shown);
  element("welcome").hidden = messages.length > 0;
  element("send").hidden = Boolean(state.running);
  element("stop").hidden = !state.running;
  element("editing").hidden = !state.editing;
  toEnd();
}

/** A new message at the end that grows as its text comes, a frame at a time. Returns what takes each piece. */
export function growingMessage(message) {
  const article = articleOf(message, state.current.messages.length, {});
  const text = article.querySelector(".text");
  const dots = make("span", "dots");
  dots.append(make("i"), make("i"), make("i"));
  text.replaceChildren(dots);
  article.querySelector(".under").remove();
  list.append(article);
  toEnd(true);
  const node = document.createTextNode("");
  let fresh = "";
  const paint = () => {
    if (!node.isConnected) text.replaceChildren(node);
    node.appendData(fresh);
    fresh = "";
    toEnd();
  };
  return (piece) => {
    if (!fresh) requestAnimationFrame(paint);
    fresh += piece;
  };
}

/** How much of the model's context the conversation takes. */

import { seenIndices } from "./conversations.js";
import { element } from "./dom.js";
import { modelNow, state } from "./state.js";

const meter = element("meter");
let density = 0.3; // tokens to a character, as the last reply counted them
let counted = { tokens: 0, isExact: true }; // without what is being written

const charactersOf = (conversation, indices) =>
  indices.reduce((sum, index) => sum + conversation.messages[index].content.length, conversation.system.length);

/** Note what the model counted when it replied to the messages at these places. */
export function noteUsage(conversation, indices, { prompt_tokens, completion_tokens }) {
  if (!(prompt_tokens > 0)) return;
  density = prompt_tokens / Math.max(1, charactersOf(conversation, indices));
  // With the reply, which is among the messages by the end
  conversation.counted = { tokens: prompt_tokens + (completion_tokens ?? 0), upTo: indices.at(-1) + 2 };
}

function count() {
  const { current } = state;
  const { tokens, upTo } = current.counted ?? { tokens: 0, upTo: 0 };
  const seen = seenIndices(current).filter((index) => index >= upTo);
  const characters = upTo ? charactersOf({ ...current, system: "" }, seen) : charactersOf(current, seen);
  return { tokens: tokens + characters * density, isExact: characters === 0 };
}

/** Show the meter. `draft`: what is being written; undefined: the conversation has changed. */
export function showMeter(draft) {
  const whole = modelNow().context_length ?? 0;
  meter.hidden = !whole;
  if (!whole) return;
  if (draft === undefined) counted = count();
  const text = draft ?? element("text").value;
  const used = Math.round(counted.tokens + text.length * density);
  const said = `${counted.isExact && !text ? "" : "about "}${used.toLocaleString("en")} of ${whole.toLocaleString("en")} tokens`;
  const part = Math.min(1, used / whole);
  element("meter-text").textContent = used > whole ? `${said}: the oldest messages will be left out` : said;
  element("meter-bar").setAttribute("width", String(Math.round(part * 1000) / 10));
  meter.classList.toggle("full", part > 0.9);
  meter.setAttribute("aria-valuenow", String(Math.round(part * 100)));
  meter.setAttribute("aria-valuetext", said);
}

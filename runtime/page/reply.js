/** Asks for a reply and shows it as it comes. */

import { askModel, backend, lose, showRest } from "./connection.js";
import { inOpenAIForm, keepConversation, keptConversation, seenIndices } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { askKey, refuseWithoutKey } from "./key_dialog.js";
import { growingMessage } from "./messages.js";
import { hideNotice, keep, notify, showState } from "./notices.js";
import { hush, narrator, say } from "./speech.js";
import { changed, settings, state } from "./state.js";

export function stop() {
  state.running?.abort();
}

/** The sampling settings that are set. */
const chosen = () => ({
  ...(settings.temperature !== "" && { temperature: Number(settings.temperature) }),
  ...(settings.longest !== "" && { max_new_tokens: Number(settings.longest) }),
});

/** Wait until `seconds` are over or the user presses "Try now"; throws an AbortError when the reply is stopped. */
function waitForTurn(seconds, signal, why) {
  return new Promise((resolve, reject) => {
    let left = seconds;
    const line = () => `${why} Trying again in ${left} s.`;
    const end = (settle, value) => {
      clearInterval(clock);
      signal.removeEventListener("abort", stopped);
      hideNotice();
      settle(value);
    };
    const stopped = () => end(reject, signal.reason);
    const clock = setInterval(() => {
      left -= 1;
      if (left <= 0) end(resolve);
      else element("notice-text").textContent = line();
    }, 1000);
    signal.addEventListener("abort", stopped);
    showState("Waiting for the server", "waiting");
    notify(line(), [["Try now", () => end(resolve)], ["Cancel", stop]], false);
  });
}

/** The parts of the reply, after whatever it takes: the key, the model's name, patience. */
async function* partsOf(conversation, signal) {
  let isModelKnown = Boolean(state.model);
  for (;;) {
    try {
      showState("Thinking");
      if (!isModelKnown) await askModel();
      const seen = seenIndices(conversation);
      const messages = inOpenAIForm(conversation.system, seen.map((index) => conversation.messages[index]));
      for await (const part of backend.chat({ model: state.model, messages, settings: chosen(), signal })) {
        if (part.dropped_messages) {
          conversation.first = seen[part.dropped_messages];
          say("The oldest messages no longer fit the model’s context: it does not see them any more.");
        }
        yield part;
      }
      return;
    } catch (error) {
      if (error.kind === "locked" && await askKey()) continue;
      if (error.code === "no_model" && isModelKnown) {
        isModelKnown = false; // the server has another one than when the page was opened
        continue;
      }
      if (error.kind !== "busy") throw error;
      await waitForTurn(error.retry_after, signal, error.message);
    }
  }
}

/** Stream a reply into `message`; `showText` is called with each new piece. Fills in the figures. */
async function readReply(parts, message, showText) {
  const asked = performance.now();
  let begun = 0;
  let latest = 0;
  let finish = null;
  for await (const { text, finish_reason, usage } of parts) {
    finish = finish_reason ?? finish;
    if (usage) {
      message.tokens = usage.completion_tokens;
      message.promptTokens = usage.prompt_tokens;
    }
    if (text) {
      latest = performance.now();
      begun ||= latest;
      message.content += text;
      showText(text);
    }
  }
  // From the first token to the last; a reply that came almost at once is timed as a whole
  const since = latest - begun > 100 ? begun : asked;
  if (message.tokens > 1) message.perSecond = ((message.tokens - 1) * 1000) / Math.max(1, latest - since);
  message.ended = finish === "length" ? "Cut off at the limit" : undefined;
}

/** Ask for a reply to the last message. `before`: the reply that this one replaces once it has begun. */
export async function reply(before = null) {
  const conversation = state.current;
  const controller = new AbortController();
  // As it stays if this page is closed before its end
  const message = { role: "assistant", content: "", ended: "Broken off" };
  state.running = controller;
  hideNotice();
  hush();
  keepConversation(conversation);
  keep("current", conversation.id);
  changed();
  const grow = growingMessage(message);
  const voice = narrator();
  let keptAt = -1; // below 0 until there is text
  let trouble = null;
  try {
    await readReply(partsOf(conversation, controller.signal), message, (piece) => {
      grow(piece);
      voice.hear(piece);
      if (keptAt < 0) {
        conversation.messages.push(message);
        showState("Replying");
      }
      if (keptAt >= 0 && performance.now() - keptAt < 1000) return;
      keptAt = performance.now();
      keepConversation(conversation);
    });
    if (keptAt < 0) conversation.messages.push(message);
  } catch (error) {
    trouble = error;
    if (keptAt >= 0 && error.name === "AbortError") message.ended = "Stopped";
    if (keptAt < 0 && before) conversation.messages.push(before);
  }
  voice.finish();
  // Deleted meanwhile, it stays deleted
  if (keptConversation(conversation.id)) keepConversation(conversation);
  if (state.running !== controller) return;
  state.running = null;
  state.lost = false;
  showRest();
  const focused = document.activeElement;
  changed();
  if (!focused?.isConnected || focused === document.body || focused.id === "stop") focusText();
  if (trouble) explain(trouble);
}

function explain(error) {
  if (error.name === "AbortError") return say("Stopped");
  if (error.kind === "gone") return lose("The connection to the server is lost. Your message is kept.");
  if (error.kind === "locked") return refuseWithoutKey(retry);
  if (error.code === "too_long") {
    const edit = () => element("text").dispatchEvent(new CustomEvent("edit-last"));
    return notify("This is too long for the model, even without the earlier messages: shorten it, or the system message.", [["Edit the message", edit]]);
  }
  return notify(error.kind ? error.message : "The answer of the server cannot be read.", [["Try again", retry]]);
}

/** Another reply to the last message. */
export function retry() {
  if (state.running || !state.current.messages.length) return;
  state.editing = false;
  const { messages } = state.current;
  const before = messages.at(-1).role === "assistant" ? messages.pop() : null;
  if (!messages.length) return void messages.push(before);
  focusText();
  reply(before);
}

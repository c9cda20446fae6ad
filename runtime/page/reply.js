/** Asks for a reply and shows it as it comes. */

import { askModel, backend, lose, showRest } from "./connection.js";
import { noteUsage } from "./context_meter.js";
import { forgetCounts, inOpenAIForm, seenIndices, titleOf } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { endEdit } from "./edit_drafts.js";
import { keep, keepConversation } from "./keeping.js";
import { askKey, refuseWithoutKey } from "./key_dialog.js";
import { growingMessage } from "./messages.js";
import { hideNotice, notify, showState } from "./notices.js";
import { samplingSettings } from "./sampling_settings.js";
import { hush, narrator, say } from "./speech.js";
import { changed, settings, state } from "./state.js";
import { kept } from "./storage.js";
import { getConversation, summaries } from "./store.js";
import { withNewVersion } from "./versions.js";

export function stop() {
  state.running?.abort();
}

/** Note that a conversation's last message is to be sent when the server is back; null: none. */
export function setWaiting(id) {
  state.waiting = id;
  if (id) keep("waiting", id);
  else kept.remove("waiting");
}

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
      let seen = seenIndices(conversation);
      const messages = inOpenAIForm(conversation.system, seen.map((index) => conversation.messages[index]));
      const request = { model: state.model, messages, settings: samplingSettings(settings), signal };
      for await (const part of backend.chat(request)) {
        if (part.dropped_messages) {
          seen = seen.slice(part.dropped_messages);
          conversation.first = seen[0];
          say("The oldest messages no longer fit the model’s context: it does not see them any more.");
        }
        if (part.usage) noteUsage(conversation, seen, part.usage);
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
  let finish = null;
  for await (const { text, finish_reason, usage } of parts) {
    finish = finish_reason ?? finish;
    if (usage) {
      message.tokens = usage.completion_tokens;
      message.promptTokens = usage.prompt_tokens;
      // The model's own time, where it tells it
      if (usage.decode_tokens_per_second > 0) message.perSecond = usage.decode_tokens_per_second;
      if (usage.time_to_first_token_s > 0) message.firstToken = usage.time_to_first_token_s;
    }
    if (text) {
      message.content += text;
      showText(text);
    }
  }
  if (finish === "length") message.ended = "Cut off at the limit";
  else delete message.ended;
}

/** Ask for a reply to the last message. `earlier`: a reply that it gets beside this one. */
export async function reply(earlier = null) {
  const conversation = state.current;
  const controller = new AbortController();
  // As it stays if this page is closed before its end
  const fresh = { role: "assistant", content: "", time: Date.now(), model: state.model, ended: "Broken off" };
  const message = withNewVersion(earlier, fresh);
  state.running = controller;
  setWaiting(null);
  hideNotice();
  hush();
  forgetCounts(conversation);
  keepConversation(conversation);
  keep("current", conversation.id);
  changed();
  const grow = growingMessage(message);
  const voice = narrator();
  let keptAt = -1; // below 0 until there is text
  let trouble = null;
  try {
    await readReply(partsOf(conversation, controller.signal), message, (piece) => {
      grow();
      voice.hear(piece);
      if (keptAt < 0) {
        message.model = state.model;
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
    if (keptAt < 0 && earlier) conversation.messages.push(earlier);
    if (keptAt < 0 && !earlier && error.kind === "gone") setWaiting(conversation.id);
  }
  voice.finish();
  conversation.time = Date.now();
  // Deleted or restored meanwhile, it stays so
  const isReplaced = state.current.id === conversation.id && state.current !== conversation;
  if (summaries.has(conversation.id) && !isReplaced) keepConversation(conversation);
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
  if (error.kind === "gone") {
    return lose(state.waiting
      ? "The connection to the server is lost. Your message is kept, and sent when the server is back."
      : "The connection to the server is lost. What there is of the reply is kept.");
  }
  if (error.kind === "locked") return refuseWithoutKey(retry);
  if (error.code === "too_long") {
    const edit = () => element("text").dispatchEvent(new CustomEvent("edit-last"));
    return notify("This is too long for the model, even without the earlier messages: shorten it, or the system message.", [["Edit the message", edit]]);
  }
  return notify(error.kind ? error.message : "The answer of the server cannot be read.", [["Try again", retry]]);
}

/** Another reply to the last message; the one that there is stays beside it. */
export function retry() {
  if (state.running || !state.current.messages.length) return;
  endEdit();
  const { messages } = state.current;
  const earlier = messages.at(-1).role === "assistant" ? messages.pop() : null;
  if (!messages.length) return void messages.push(earlier);
  focusText();
  reply(earlier);
}

/** Send what was not sent while the server was gone; where another conversation is shown, say so. `open`: shows one by its id. */
export async function sendWaiting(open) {
  const id = state.waiting;
  if (!id || state.running) return;
  const isHere = state.current.id === id;
  const conversation = isHere ? state.current : await getConversation(id);
  setWaiting(null);
  if (conversation?.messages.at(-1)?.role !== "user") return changed();
  if (isHere && !state.editing) return retry();
  changed();
  notify(`The server is back. A message in “${titleOf(conversation).slice(0, 40)}” was not sent.`, [["Show it", () => open(id)]]);
}

/** A conversation as token ids, and what to do when the context is full, as in `runtime/chat.py`. */

import { encodeConversation, encodeTurn } from "./chat_format.js";
import { generate } from "./generation.js";
import { TokenSampler } from "./sampling.js";

/** A message does not fit into the context; the text says what to do. */
export class ContextFullError extends Error {}

/**
 * The conversation that is in the model's cache. Each reply is given the whole conversation; what it has in common with
 * the one before keeps its token ids, and so its place in the cache.
 */
export class Conversation {
  #session;
  #tokenizer;
  #system = "";
  #opening;
  #messages = [];
  // Token ids of each message after the system message
  #turns = [];
  // How many of the oldest of those are no longer in the context
  #dropped = 0;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./tokenizer.js").Tokenizer} tokenizer
   */
  constructor(session, tokenizer) {
    this.#session = session;
    this.#tokenizer = tokenizer;
    this.#opening = encodeConversation(tokenizer, []);
  }

  /**
   * Reply to the last message, the user's. The oldest exchanges are dropped from the context where it is full.
   *
   * @param {{role: string, content: string}[]} messages the conversation; only the first may be a system message.
   * @param {ReturnType<typeof import("./sampling.js").samplingOptions>} options how to sample.
   * @param {object} calls
   * @param {(count: number) => void} calls.onDropped told how many of the oldest messages are not in the context.
   * @param {(text: string) => void} calls.onText receives the reply in pieces.
   * @param {() => boolean | Promise<boolean>} calls.shouldStop asked between two tokens.
   * @returns {Promise<import("./generation.js").Result>}
   * @throws {ContextFullError} the last message or the system message does not fit.
   */
  async reply(messages, options, { onDropped, onText, shouldStop }) {
    const hasSystem = messages[0]?.role === "system";
    const system = hasSystem ? messages[0].content : "";
    const turns = hasSystem ? messages.slice(1) : messages;
    if (turns.at(-1)?.role !== "user" || turns.some(({ role }) => role !== "user" && role !== "assistant")) {
      throw new TypeError("a conversation is a system message, if any, and turns of which the last is the user's");
    }
    const opening = system === this.#system ? this.#opening : this.#encodeOpening(system);
    this.#checkLength(opening, turns.at(-1));
    this.#take(system, opening, turns);
    this.#dropped = this.#droppedFor(turns.length - 1, options.max_new_tokens);
    onDropped(this.#dropped);
    const { assistant } = this.#tokenizer.roleIds;
    const prompt = [...this.#opening, ...this.#turns.slice(this.#dropped).flat(), assistant];
    const sampler = new TokenSampler(this.#tokenizer, options);
    const result = await generate(this.#session, this.#tokenizer, prompt, sampler, onText, shouldStop);
    this.#messages.push({ role: "assistant", content: result.reply });
    this.#turns.push([assistant, ...result.ids, this.#tokenizer.eosId]);
    return result;
  }

  /** Make a conversation this one; messages that both have keep their token ids. */
  #take(system, opening, messages) {
    if (commonMessages(this.#messages, messages) === 0) this.#forgetDropped();
    const common = commonMessages(this.#messages, messages);
    const isNextTurn = common === this.#messages.length || common === messages.length;
    const goesOn = system === this.#system && common > 0 && isNextTurn;
    this.#system = system;
    this.#opening = opening;
    this.#messages = messages.map(({ role, content }) => ({ role, content }));
    const added = messages.slice(common).map((message) => encodeTurn(this.#tokenizer, message));
    this.#turns = [...this.#turns.slice(0, common), ...added];
    if (!goesOn) this.#dropped = this.#firstThatFits(0, messages.length - 1, this.#session.contextLength);
  }

  /** Go on without the messages that are not in the context, as who asks for replies may do. */
  #forgetDropped() {
    this.#messages = this.#messages.slice(this.#dropped);
    this.#turns = this.#turns.slice(this.#dropped);
    this.#dropped = 0;
  }

  #encodeOpening(system) {
    if (!system) return encodeConversation(this.#tokenizer, []);
    const context = this.#session.contextLength;
    this.#checkCharacters("system message", system);
    const opening = encodeConversation(this.#tokenizer, [{ role: "system", content: system }]);
    if (opening.length >= Math.floor(context / 2)) {
      throw new ContextFullError(
        `the system message has ${opening.length} tokens: more than half of the context of ${context}; shorten it`,
      );
    }
    return opening;
  }

  /** Refuse a message that does not fit, even alone. */
  #checkLength(opening, message) {
    this.#checkCharacters("message", message.content);
    const context = this.#session.contextLength;
    const wanted = encodeTurn(this.#tokenizer, message).length + 1;
    if (opening.length + wanted >= context) {
      throw new ContextFullError(
        `the message has ${wanted} tokens, but the context of ${context} has room for ` +
          `${context - opening.length - 1}: shorten it`,
      );
    }
  }

  /** Refuse a text that is too long by its characters: tokenizing megabytes takes long. */
  #checkCharacters(kind, text) {
    const least = this.#tokenizer.leastTokens(text);
    const context = this.#session.contextLength;
    if (least >= context) {
      throw new ContextFullError(`the ${kind} has ${least} tokens or more, but the context holds ${context}: shorten it`);
    }
  }

  /** How many of the oldest messages to drop so that the turn at `place`, the last, and a reply fit. */
  #droppedFor(place, longestReply) {
    const context = this.#session.contextLength;
    const wanted = this.#turns[place].length + 1;
    const dropped = Math.min(this.#dropped, place);
    const reserve = Math.min(longestReply, Math.floor(context / 4));
    if (this.#used(dropped, place) + wanted + reserve <= context) return dropped;
    // An eighth more than needed, or each further turn would drop some and prefill all the rest again
    return this.#firstThatFits(dropped, place, context - Math.floor(context / 8) - reserve - wanted);
  }

  /** The first exchange from `start` on whose turns up to `end`, with the opening, take at most `room` tokens. */
  #firstThatFits(start, end, room) {
    let used = this.#used(start, end);
    while (start < end && used > room) {
      const user = this.#tokenizer.roleIds.user;
      let following = start + 1;
      while (following < end && this.#turns[following][0] !== user) following += 1;
      for (const turn of this.#turns.slice(start, following)) used -= turn.length;
      start = following;
    }
    return start;
  }

  /** Number of tokens of the opening and of the turns from `start` up to `end`. */
  #used(start, end) {
    return this.#turns.slice(start, end).reduce((used, turn) => used + turn.length, this.#opening.length);
  }
}

/** How many messages two conversations begin with in common. */
function commonMessages(one, other) {
  let common = 0;
  while (
    common < Math.min(one.length, other.length) &&
    one[common].role === other[common].role &&
    one[common].content === other[common].content
  ) {
    common += 1;
  }
  return common;
}

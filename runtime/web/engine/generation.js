/** The generation loop of `runtime/generation.py`. */

import { PREFILL_CHUNK } from "./session.js";
import { StreamDecoder } from "./tokenizer.js";

/**
 * @typedef {object} Result a finished reply.
 * @property {string} reply its text.
 * @property {number[]} ids its token ids, without `<eos>` and without a stop text and what follows it.
 * @property {number} promptTokens tokens of the whole prompt, with reused ones.
 * @property {number} completionTokens generated tokens, with `<eos>`.
 * @property {"stop" | "length" | "context" | "cancelled"} finishReason why it ended.
 * @property {number} timeToFirstTokenS seconds from the start to the first token.
 * @property {number} decodeTokensPerSecond speed after the first token; 0 where there is no second.
 */

/**
 * Generate a reply to a prompt.
 *
 * @param {import("./session.js").Session} session the model; what it has in common with the prompt is not computed again.
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 * @param {number[]} prompt token ids of the whole prompt, fewer than the context holds.
 * @param {import("./sampling.js").TokenSampler} sampler
 * @param {(text: string) => void} onText receives the reply in pieces of whole characters.
 * @param {() => boolean | Promise<boolean>} shouldStop asked between two tokens and between two chunks of the prompt.
 * @returns {Promise<Result>}
 */
export async function generate(session, tokenizer, prompt, sampler, onText, shouldStop) {
  const { stop, max_new_tokens: longest } = sampler.options;
  const stream = new TextStream(tokenizer, stop);
  const started = performance.now();
  const ids = [];
  let [reply, generated, firstToken, reason] = ["", 0, undefined, "cancelled"];
  const put = (text) => {
    reply += text;
    if (text) onText(text);
  };
  let logits = await prefill(session, prompt, shouldStop);
  while (logits && !(await shouldStop())) {
    const token = sampler.choose(logits, session.ids, ids);
    generated += 1;
    firstToken ??= performance.now();
    if (token === tokenizer.eosId) {
      reason = "stop";
      break;
    }
    ids.push(token);
    put(stream.feed(token));
    if (stream.stopped) reason = "stop";
    else if (generated === longest) reason = "length";
    else if (session.length === session.contextLength) reason = "context";
    if (reason !== "cancelled") break;
    logits = await session.append([token]);
  }
  const cut = stream.stopped;
  put(stream.finish());
  const ended = performance.now();
  const seconds = (ended - (firstToken ?? ended)) / 1000;
  return {
    reply,
    ids: cut || stream.stopped ? idsOfStart(tokenizer, ids, reply) : ids,
    promptTokens: prompt.length,
    completionTokens: generated,
    finishReason: reason,
    timeToFirstTokenS: ((firstToken ?? ended) - started) / 1000,
    decodeTokensPerSecond: generated > 1 && seconds > 0 ? (generated - 1) / seconds : 0,
  };
}

/** Bring the session to the prompt; the logits after it, or undefined if the reply was stopped meanwhile. */
async function prefill(session, prompt, shouldStop) {
  // At most all tokens but the last, which gives the logits
  session.truncate(commonLength(session.ids, prompt.slice(0, -1)));
  let logits;
  for (let start = session.length; start < prompt.length; start += PREFILL_CHUNK) {
    if (logits && (await shouldStop())) return undefined;
    logits = await session.append(prompt.slice(start, start + PREFILL_CHUNK));
  }
  return logits;
}

/** Length of the common beginning of two sequences. */
function commonLength(one, other) {
  const longest = Math.min(one.length, other.length);
  for (let place = 0; place < longest; place++) {
    if (one[place] !== other[place]) return place;
  }
  return longest;
}

/** Decodes tokens to text as they are generated, up to the first stop text. */
export class TextStream {
  #decoder;
  #stop;
  #held = "";

  /**
   * @param {import("./tokenizer.js").Tokenizer} tokenizer
   * @param {string[]} stop texts that end the text and are not part of it; what may be the beginning of one is held back.
   */
  constructor(tokenizer, stop) {
    this.#decoder = new StreamDecoder(tokenizer);
    this.#stop = stop;
    /** Whether a stop text was found. */
    this.stopped = false;
  }

  /** Take a token; the text that is final now, in whole characters. */
  feed(token) {
    const text = this.#decoder.feed(token);
    return this.#stop.length ? this.#untilStop(text) : text;
  }

  /** The text that was held back, at the end of the tokens. */
  finish() {
    if (this.stopped) return "";
    const text = this.#untilStop(this.#decoder.finish());
    return this.stopped ? text : text + this.#held;
  }

  #untilStop(more) {
    const text = this.#held + more;
    const found = this.#stop.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    if (found.length) {
      this.stopped = true;
      return text.slice(0, Math.min(...found));
    }
    const held = Math.max(0, ...this.#stop.map((stop) => commonEnd(text, stop)));
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }
}

/** Length of the longest end of a text that is a proper beginning of a stop text. */
function commonEnd(text, stop) {
  for (let size = Math.min(text.length, stop.length - 1); size > 0; size--) {
    if (text.endsWith(stop.slice(0, size))) return size;
  }
  return 0;
}

/** Token ids of a beginning of the text of `ids`: those ids up to the last border, then newly encoded. */
function idsOfStart(tokenizer, ids, text) {
  const stream = new StreamDecoder(tokenizer);
  let length = 0;
  for (const [kept, id] of ids.entries()) {
    const piece = stream.feed(id);
    if (length + piece.length > text.length) return [...ids.slice(0, kept), ...tokenizer.encode(text.slice(length))];
    length += piece.length;
  }
  return ids;
}

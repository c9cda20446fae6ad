/** A model with its KV cache, which the graphs update in place; as `TokenSequence` in `runtime/session.py`. */

import { FLOAT, INT64 } from "./onnxruntime.js";

/** Most tokens that are prefilled in one call, as in Python, so that rounding is the same. */
export const PREFILL_CHUNK = 64;

const PAST = "past_key_values.";

/** One sequence of tokens. */
export class Session {
  #runtime;
  #tokens;
  #previous;
  #ones;
  #masks = [];
  #prefill;
  #decode;

  /**
   * @param {import("./onnxruntime.js").OnnxRuntime} runtime
   * @param {number} graph session of `model.onnx`.
   * @param {number} decodeGraph session of the graph for one token; may be the same.
   * @param {{context_length: number, vocab_size: number}} config the model's shape, of the manifest.
   */
  constructor(runtime, graph, decodeGraph, config) {
    this.#runtime = runtime;
    this.contextLength = config.context_length;
    this.vocabSize = config.vocab_size;
    /** The tokens in the cache. */
    this.ids = [];
    this.logits = runtime.tensor(FLOAT, [1, 1, this.vocabSize]);
    this.#tokens = runtime.tensor(INT64, [1, PREFILL_CHUNK]);
    this.#ones = runtime.tensor(INT64, [1, this.contextLength]);
    this.#ones.view.fill(1n);
    const shapes = runtime.inputs(graph);
    const inputs = [["input_ids", undefined], ["attention_mask", undefined]];
    const outputs = [["logits", this.logits]];
    // The token before the first new one, of a model with a token shift
    this.#previous = runtime.tensor(INT64, [1, 1]);
    if (shapes.has("previous_ids")) inputs.push(["previous_ids", this.#previous]);
    for (const [name, [, heads, length, width]] of shapes) {
      if (!name.startsWith(PAST)) continue;
      if (length !== this.contextLength) throw new Error("the model's cache grows: export it without --portable");
      // Input and output are the same memory, so that attention appends in place
      const cache = runtime.tensor(FLOAT, [1, heads, length, width]);
      inputs.push([name, cache]);
      outputs.push([name.replace(PAST, "present."), cache]);
    }
    const token = runtime.part(this.#tokens, INT64, [1, 1]);
    this.#prefill = runtime.bind(graph, inputs, outputs);
    this.#decode = runtime.bind(decodeGraph, [["input_ids", token], ...inputs.slice(1)], outputs);
  }

  /** Number of tokens in the cache. */
  get length() {
    return this.ids.length;
  }

  /** Keep only the first `length` tokens. */
  truncate(length) {
    this.ids.length = length;
  }

  /**
   * Add tokens.
   *
   * @param {number[]} ids at least one; as many as the context has room for.
   * @returns {Promise<Float32Array>} logits of the token after the last one; overwritten by the next call.
   */
  async append(ids) {
    if (ids.length === 0 || this.length + ids.length > this.contextLength) {
      throw new RangeError(`${ids.length} tokens after ${this.length} in a context of ${this.contextLength}`);
    }
    for (let start = 0; start < ids.length; start += PREFILL_CHUNK) {
      await this.#run(ids.slice(start, start + PREFILL_CHUNK));
    }
    return this.logits.view;
  }

  async #run(ids) {
    this.#previous.view[0] = BigInt(this.ids.at(-1) ?? ids[0]);
    ids.forEach((id, place) => (this.#tokens.view[place] = BigInt(id)));
    const length = this.length + ids.length;
    const mask = (this.#masks[length] ??= this.#runtime.part(this.#ones, INT64, [1, length]));
    if (ids.length === 1) {
      await this.#decode(mask);
    } else {
      const tokens = this.#runtime.part(this.#tokens, INT64, [1, ids.length]);
      try {
        await this.#prefill(tokens, mask);
      } finally {
        this.#runtime.release(tokens);
      }
    }
    this.ids.push(...ids);
  }
}

/** Sampling as in `runtime/sampling.py`: choose the next token from its logits. */

import { Random } from "./random.js";

const REPETITION_WINDOW = 64;
const FEW = 64;

/** How the next token is chosen, and when a reply ends; see `SamplingOptions` in Python. */
export const DEFAULTS = Object.freeze({
  temperature: 0.7,
  top_k: 40,
  top_p: 0.95,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  seed: null,
  max_new_tokens: 256,
  stop: Object.freeze([]),
});

const RANGES = {
  temperature: [0, 100],
  top_k: [-1, Infinity],
  top_p: [0, 1],
  min_p: [0, 1],
  repetition_penalty: [0.01, 100],
  presence_penalty: [-2, 2],
  frequency_penalty: [-2, 2],
  max_new_tokens: [1, Infinity],
  seed: [-1, Infinity],
};

/**
 * Complete options by the defaults and check them.
 *
 * @param {object} given options; those that are null or undefined count as not given.
 * @param {object} defaults the model's own.
 * @throws {RangeError} one is out of range; the message says which.
 */
export function samplingOptions(given, defaults = {}) {
  const known = (options) => Object.entries(options ?? {}).filter(([name, value]) => name in DEFAULTS && value != null);
  const options = { ...DEFAULTS, ...Object.fromEntries(known(defaults)), ...Object.fromEntries(known(given)) };
  if (typeof options.stop === "string") options.stop = [options.stop];
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = options[name];
    if ((value === null && name === "seed") || (value === -1 && name === "max_new_tokens")) continue;
    const whole = ["top_k", "max_new_tokens", "seed"].includes(name);
    if (typeof value !== "number" || !(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
      const range = most === Infinity ? `${least} or more` : `between ${least} and ${most}`;
      throw new RangeError(`${name} must be ${range}, not ${value}`);
    }
  }
  if (options.top_k === -1) options.top_k = 0;
  if (options.seed === -1) options.seed = null;
  if (options.max_new_tokens === -1) options.max_new_tokens = Infinity;
  return options;
}

/** Chooses tokens; samplers with equal seeds make equal choices, here and in Python. */
export class TokenSampler {
  #never;
  #eosId;
  #random;

  /**
   * @param {import("./tokenizer.js").Tokenizer} tokenizer
   * @param {ReturnType<typeof samplingOptions>} options
   */
  constructor(tokenizer, options) {
    this.options = options;
    this.#never = tokenizer.neverSampled;
    this.#eosId = tokenizer.eosId;
    this.#random = new Random(options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  }

  /**
   * Choose the next token.
   *
   * @param {Float32Array} logits [vocab_size]; overwritten.
   * @param {number[]} context ids of the tokens before it.
   * @param {number[]} reply ids of the reply so far.
   * @returns {number} the token's id.
   */
  choose(logits, context = [], reply = []) {
    const { temperature, top_k, top_p, repetition_penalty, presence_penalty, frequency_penalty } = this.options;
    if (repetition_penalty !== 1) this.#penalizeRepetition(logits, context);
    if (reply.length && (presence_penalty || frequency_penalty)) this.#penalizePresence(logits, reply);
    for (const id of this.#never) logits[id] = -Infinity;
    const best = argmax(logits);
    if (!Number.isFinite(logits[best])) this.#makeFinite(logits);
    if (temperature === 0 || top_k === 1 || top_p === 0) return argmax(logits);
    return this.#draw(logits, logits[argmax(logits)]);
  }

  #draw(logits, highest) {
    const { top_k, top_p, min_p } = this.options;
    const limited = top_k > 0 && top_k < logits.length;
    // Ids of the candidates, most likely first; undefined: all ids in their own order
    let ids;
    let total;
    if (limited) {
      ids = likeliest(logits, top_k);
    } else if (top_p < 1 || min_p > 0) {
      total = sum(this.#weights(logits, undefined, highest));
      ids = this.#head(logits, highest, total);
    }
    const weights = this.#weights(logits, ids, highest);
    const reached = cumulated(weights);
    let kept = reached.length;
    if (top_p < 1) kept = Math.min(kept, firstAtLeast(reached, top_p * (total ?? reached[kept - 1])) + 1);
    if (min_p > 0) kept = Math.min(kept, weights.reduce((count, weight) => count + (weight >= min_p), 0));
    const drawn = this.#random.random() * reached[kept - 1];
    const index = Math.min(firstAbove(reached, drawn), kept - 1);
    return ids ? ids[index] : index;
  }

  /** Unnormalized probabilities in fp64: 1 for the highest logit. */
  #weights(logits, ids, highest) {
    const temperature = Math.max(this.options.temperature, 1e-30);
    const weights = new Float64Array(ids?.length ?? logits.length);
    for (let place = 0; place < weights.length; place++) {
      weights[place] = Math.exp((logits[ids ? ids[place] : place] - highest) / temperature);
    }
    return weights;
  }

  /** The most likely ids in descending order, at least those that top-p and min-p keep. */
  #head(logits, highest, total) {
    for (let count = FEW; ; count *= 8) {
      const ids = likeliest(logits, Math.min(count, logits.length));
      const weights = this.#weights(logits, ids, highest);
      if (
        count >= logits.length ||
        sum(weights) >= this.options.top_p * total ||
        weights[weights.length - 1] < this.options.min_p
      ) {
        return ids;
      }
    }
  }

  #penalizeRepetition(logits, context) {
    const penalty = Math.fround(this.options.repetition_penalty);
    const spared = [...this.#never, this.#eosId];
    for (const id of new Set(context.slice(-REPETITION_WINDOW))) {
      if (!spared.includes(id)) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
  }

  #penalizePresence(logits, reply) {
    const { presence_penalty, frequency_penalty } = this.options;
    const counts = new Map();
    for (const id of reply) counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const [id, count] of counts) logits[id] -= Math.fround(presence_penalty + frequency_penalty * count);
  }

  /** Replace infinite logits by the largest finite numbers. */
  #makeFinite(logits) {
    const largest = 3.4028234663852886e38;
    for (let id = 0; id < logits.length; id++) {
      if (Number.isNaN(logits[id])) throw new Error("the model's logits are not numbers (NaN): its weights are damaged");
      logits[id] = Math.max(-largest, Math.min(largest, logits[id]));
    }
    for (const id of this.#never) logits[id] = -Infinity;
  }
}

/** The index of the highest value, the first of equal ones. NaN counts as the highest, as in NumPy. */
export function argmax(values) {
  let best = 0;
  for (let index = 0; index < values.length; index++) {
    if (values[index] > values[best]) best = index;
    else if (values[index] !== values[index]) return index;
  }
  return best;
}

/** The indices of the `count` highest values, in descending order; of equal ones the first come first. */
function likeliest(values, count) {
  if (count > FEW) {
    const order = Array.from(values, (_, index) => index);
    return order.sort((one, other) => values[other] - values[one] || one - other).slice(0, count);
  }
  const ids = [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (ids.length === count && !(value > values[ids[count - 1]])) continue;
    let place = ids.length < count ? ids.length : count - 1;
    while (place > 0 && value > values[ids[place - 1]]) {
      ids[place] = ids[place - 1];
      place -= 1;
    }
    ids[place] = index;
  }
  return ids;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function cumulated(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

/** The first place of ascending values that is at least a limit; their number if there is none. */
function firstAtLeast(values, limit) {
  const place = values.findIndex((value) => value >= limit);
  return place < 0 ? values.length : place;
}

/** The first place of ascending values that is above a limit; their number if there is none. */
function firstAbove(values, limit) {
  const place = values.findIndex((value) => value > limit);
  return place < 0 ? values.length : place;
}

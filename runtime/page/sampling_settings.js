/** The sampling settings: their names, ranges and fields. */

/** [name for the backend, name among the settings, label, least, most, step, hint] */
export const SAMPLING = [
  ["temperature", "temperature", "Temperature", 0, 2, "any", "With 0 it always says what is likeliest; higher is more varied."],
  ["max_new_tokens", "longest", "Longest reply, in tokens", 1, null, 1, "A token is a word or a piece of one."],
  ["top_k", "top_k", "Top-k", 0, null, 1, "Choose from this many of the likeliest tokens; 0: from all."],
  ["top_p", "top_p", "Top-p", 0, 1, "any", "Choose from the likeliest tokens that together have this probability; 1: from all."],
  ["min_p", "min_p", "Min-p", 0, 1, "any", "Leave out tokens less likely than this part of the likeliest; 0: none."],
  ["repetition_penalty", "repetition_penalty", "Repetition penalty", 0.01, 100, "any", "Above 1: says again less often what it has just said; 1: off."],
  ["seed", "seed", "Seed", 0, Number.MAX_SAFE_INTEGER, 1, "With a seed, the same question gets the same reply."],
];

/** What is set, as numbers, under the names that backends know. */
export function samplingSettings(settings) {
  return Object.fromEntries(SAMPLING.filter(([, name]) => settings[name] !== "").map(([known, name]) => [known, Number(settings[name])]));
}

/** What is done where nothing is set, in words. `value`: the model's own, or undefined. */
export function defaultText(name, value) {
  if (name === "seed" && (value === null || value === undefined)) return "A random one";
  return value === undefined || value === null ? "The model’s own" : `${value} (default)`;
}

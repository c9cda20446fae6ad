/** What is shown and done at present, and the settings. Whoever changes what is shown calls `changed`. */

import { newConversation } from "./conversations.js";
import { kept } from "./storage.js";

/** As they are typed: empty where the model's own are used. */
export const settings = {
  system: "",
  temperature: "",
  top_k: "",
  top_p: "",
  min_p: "",
  repetition_penalty: "",
  seed: "",
  longest: "",
  model: "",
  theme: "system",
  ...kept.get("settings"),
};

export const state = {
  current: newConversation(settings.system),
  running: null, // the AbortController of a reply under way
  editing: null, // the message that is being changed
  models: [], // as the backend tells them
  model: kept.get("model") ?? "", // the id of the one that answers
  lost: false, // whether the server was out of reach when last asked
  waiting: null, // the id of a conversation whose last message is to be sent when the server is back
};

export const modelNow = () => state.models.find(({ id }) => id === state.model) ?? {};

const watchers = [];

/** Call a function after each change. */
export const onChange = (watcher) => watchers.push(watcher);

export function changed() {
  for (const watcher of watchers) watcher();
}

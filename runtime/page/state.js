/** What is shown and done at present, and the settings. Whoever changes what is shown calls `changed`. */

import { keptConversation, newConversation } from "./conversations.js";
import { kept } from "./storage.js";

export const settings = { system: "", temperature: "", longest: "", theme: "system", ...kept.get("settings") };

export const state = {
  current: keptConversation(kept.get("current")) ?? newConversation(settings.system),
  running: null, // the AbortController of a reply under way
  editing: false, // whether the last message of the user is in the field
  model: kept.get("model") ?? "", // its id
  contextLength: 0, // in tokens; 0 where it is not known
  lost: false, // whether the server was out of reach when last asked
};

const watchers = [];

/** Call a function after each change. */
export const onChange = (watcher) => watchers.push(watcher);

export function changed() {
  for (const watcher of watchers) watcher();
}

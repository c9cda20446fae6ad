/** Keeps things in the browser, and says so where there is no room. */

import { notify } from "./notices.js";
import { kept } from "./storage.js";
import { putConversations } from "./store.js";

const complain = () =>
  notify("This browser’s storage is full, so this is not kept. Export what you need and delete conversations.");

export function keep(name, value) {
  try {
    kept.set(name, value);
  } catch {
    complain();
  }
}

/** Keep a conversation as it is now; one without messages is not kept. */
export async function keepConversation(conversation) {
  if (!conversation.messages.length) return;
  try {
    await putConversations([conversation]);
  } catch {
    complain();
  }
}

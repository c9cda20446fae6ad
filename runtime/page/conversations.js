/** Conversations: {id, time, system, first, messages}; the model sees the messages from `first` on. */

import { keep } from "./notices.js";
import { CHAT, kept } from "./storage.js";

export const newConversation = (system = "") => ({
  id: Date.now().toString(36) + Math.random().toString(36).slice(2, 8),
  time: Date.now(),
  system,
  first: 0,
  messages: [],
});

/** A kept conversation; null where there is none, or something else has written there. */
export function keptConversation(id) {
  const conversation = kept.get(CHAT + id);
  const isWhole = typeof conversation?.system === "string" && Array.isArray(conversation.messages) &&
    conversation.messages.every((message) => typeof message?.content === "string");
  return isWhole ? conversation : null;
}

/** All that are kept, the latest first. */
export function conversations() {
  return kept.names()
    .filter((name) => name.startsWith(CHAT))
    .map((name) => keptConversation(name.slice(CHAT.length)))
    .filter((conversation) => conversation?.messages.length)
    .sort((one, other) => other.time - one.time);
}

export function keepConversation(conversation) {
  if (conversation.messages.length) keep(CHAT + conversation.id, conversation);
}

export const lastUserIndex = (messages) => messages.findLastIndex((message) => message.role === "user");

export const titleOf = (conversation) => {
  const message = conversation.messages.find(({ role }) => role === "user") ?? conversation.messages[0];
  return message.content.trim().replace(/\s+/g, " ").slice(0, 80) || "Empty message";
};

export const inOpenAIForm = (system, messages) => [
  ...(system.trim() ? [{ role: "system", content: system }] : []),
  ...messages.map(({ role, content }) => ({ role, content })),
];

/** The indices of the messages that the model is to see: whole exchanges and the last message, but none that was never answered. */
export function seenIndices({ first, messages }) {
  return messages.flatMap(({ role }, index) =>
    index >= first && (role !== "user" || messages[index + 1]?.role !== "user") ? [index] : []);
}

/**
 * Conversations: {id, title, created, time, system, first, messages, counted}.
 *
 * title: as renamed, or empty. created, time: when it began and was last written to, in milliseconds since 1970. first: the model
 * sees the messages from there on. counted: tokens of all that the model sees, as it counted them after the last reply.
 * Messages: {role, content, time}; those of the assistant also have what is known of {model, tokens, promptTokens, perSecond,
 * firstToken, ended}, and where there are several replies `versions` (see versions.js).
 */

export const newConversation = (system = "") => ({
  id: Date.now().toString(36) + Math.random().toString(36).slice(2, 8),
  title: "",
  created: Date.now(),
  time: Date.now(),
  system,
  first: 0,
  messages: [],
});

/** Whether a value is a conversation, and nothing that something else has written. */
export const isConversation = (value) =>
  typeof value?.id === "string" && typeof value.system === "string" && Array.isArray(value.messages) &&
  value.messages.every((message) => typeof message?.content === "string" && ["user", "assistant"].includes(message.role));

export const lastUserIndex = (messages) => messages.findLastIndex((message) => message.role === "user");

export function titleOf({ title, messages }) {
  const message = messages.find(({ role }) => role === "user") ?? messages[0];
  return (title || message?.content || "").trim().slice(0, 400).replace(/\s+/g, " ").slice(0, 80) || "Empty message";
}

export const summaryOf = (conversation) => ({
  id: conversation.id,
  title: titleOf(conversation),
  time: conversation.time,
  digest: digestOf(conversation),
});

/** A number for what was said: equal for equal conversations (cyrb53, a hash of 53 bits). */
export function digestOf({ system, messages }) {
  const text = JSON.stringify([system.trim(), messages.map(({ role, content }) => [role, content])]);
  let [one, other] = [0xdeadbeef, 0x41c6ce57];
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    one = Math.imul(one ^ code, 2654435761);
    other = Math.imul(other ^ code, 1597334677);
  }
  one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(other ^ (other >>> 13), 3266489909);
  other = Math.imul(other ^ (other >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  return 4294967296 * (2097151 & other) + (one >>> 0);
}

export const inOpenAIForm = (system, messages) => [
  ...(system.trim() ? [{ role: "system", content: system }] : []),
  ...messages.map(({ role, content }) => ({ role, content })),
];

/**
 * The indices of the messages that the model is to see: whole exchanges and the last message. A question that was never
 * answered is left out, and a reply whose question was deleted.
 */
export function seenIndices({ first, messages }) {
  const seen = [];
  for (let index = first; index < messages.length; index++) {
    const before = messages[seen.at(-1)]?.role ?? "assistant";
    if (messages[index].role === "assistant" && before === "assistant") continue;
    if (messages[index].role === "user" && before === "user") seen.pop();
    seen.push(index);
  }
  return seen;
}

/** What is known of earlier counts no longer holds: something earlier has changed. */
export function forgetCounts(conversation) {
  delete conversation.counted;
}

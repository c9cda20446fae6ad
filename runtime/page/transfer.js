/** Export and import, in OpenAI's form. */

import { inOpenAIForm, newConversation } from "./conversations.js";
import { make } from "./dom.js";

export function download(exported) {
  const content = exported.map(({ system, messages }) => ({ messages: inOpenAIForm(system, messages) }));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2) + "\n"], { type: "application/json" }));
  link.download = `tinylm-${exported.length === 1 ? "conversation" : "conversations"}-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function parse(source) {
  try {
    const value = JSON.parse(source);
    const isList = Array.isArray(value);
    return isList && !(value[0] && typeof value[0] === "object" && "role" in value[0]) ? value : [value];
  } catch (error) {
    const lines = source.split("\n").map((line, index) => [line.trim(), index + 1]).filter(([line]) => line);
    if (lines.length < 2 || !/^[{[].*[}\]]$/.test(lines[0][0])) throw new Error("it is not JSON.", { cause: error });
    return lines.map(([line, number]) => {
      try {
        return JSON.parse(line);
      } catch {
        throw new Error(`line ${number} is not JSON.`);
      }
    });
  }
}

function textOf(content) {
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content : [];
  return parts.length && parts.every((part) => part?.type === "text" && typeof part.text === "string")
    ? parts.map((part) => part.text).join("")
    : null;
}

/** The conversation that a JSON value holds. Throws an Error that says what is wrong with it, and where. */
function conversationOf(value, number) {
  const list = Array.isArray(value) ? value : value?.messages;
  if (!Array.isArray(list)) throw new Error(`conversation ${number} has no list of “messages”.`);
  const messages = list.map((message, index) => {
    const place = `conversation ${number}, message ${index + 1}`;
    if (!["system", "user", "assistant"].includes(message?.role)) throw new Error(`${place}: the role must be system, user or assistant.`);
    if (message.role === "system" && index > 0) throw new Error(`${place}: a system message must come first.`);
    const content = textOf(message.content);
    if (content === null) throw new Error(`${place}: the content must be text.`);
    return { role: message.role, content };
  });
  const system = messages[0]?.role === "system" ? messages.shift().content : "";
  if (!messages.some(({ role }) => role === "user")) throw new Error(`conversation ${number} has no message of a user.`);
  return { ...newConversation(), system, messages };
}

export const contentOf = ({ system, messages }) => JSON.stringify([system.trim(), messages.map(({ role, content }) => [role, content])]);

/** The conversations of a file's text. Throws an Error that says what is wrong with it. */
export function conversationsOf(source) {
  const read = parse(source).map((value, index) => conversationOf(value, index + 1));
  if (!read.length) throw new Error("it holds no conversation.");
  return read;
}

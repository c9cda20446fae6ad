/** Import: files that this page, `tinylm chat` and other programs have written. A file is taken whole or not at all. */

import { isArchive, textsIn } from "./archive.js";
import { digestOf, newConversation } from "./conversations.js";
import { foreignConversation } from "./foreign_forms.js";
import { putConversations, summaries } from "./store.js";

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
  return { ...newConversation(), time: undefined, system, messages };
}

const isTime = (value) => Number.isFinite(value) && Math.abs(value) < 8e15; // what a Date can hold

/** What is known of a message beside its text, as far as it is what it should be. */
function figuresIn(value) {
  const numbers = ["tokens", "perSecond", "firstToken"].filter((name) => Number.isFinite(value[name]));
  const texts = ["model", "ended"].filter((name) => typeof value[name] === "string");
  const time = isTime(value.time) ? ["time"] : [];
  return Object.fromEntries([...numbers, ...texts, ...time].map((name) => [name, value[name]]));
}

/** A conversation with what `exportedForm` has put beside its messages, as far as it is there. */
function madeWhole(conversation, more) {
  const messages = conversation.messages.map((message, index) => {
    const beside = more.messages?.[index] ?? {};
    const { versions, version } = beside;
    const isWhole = Array.isArray(versions) && versions.every((each) => typeof each?.content === "string") && versions[version] !== undefined;
    const known = isWhole && { versions: versions.map((each) => ({ content: each.content, ...figuresIn(each) })), version };
    return { ...message, ...figuresIn(beside), ...known };
  });
  const whole = { ...conversation, messages };
  if (typeof more.title === "string") whole.title = more.title.slice(0, 80);
  for (const name of ["created", "time"]) if (isTime(more[name])) whole[name] = more[name];
  return whole;
}

/** The conversations in a file's text, and how many had nothing in them. Throws an Error that says what is wrong with it. */
export function conversationsIn(source) {
  let empty = 0;
  const read = parse(source).flatMap((value, index) => {
    const foreign = foreignConversation(value);
    if (foreign && !foreign.messages.some(({ role }) => role === "user")) {
      empty += 1;
      return [];
    }
    if (foreign) return [{ ...newConversation(), time: undefined, ...definedOf(foreign) }];
    const conversation = conversationOf(value, index + 1);
    return [value.tinylm && typeof value.tinylm === "object" ? madeWhole(conversation, value.tinylm) : conversation];
  });
  if (!read.length) throw new Error("it holds no conversation.");
  return { read, empty };
}

const definedOf = (value) => Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));

const count = (number) => `${number} ${number === 1 ? "conversation" : "conversations"}`;

/** The texts that hold a file's conversations: its own, or those in an archive as ChatGPT exports it. */
async function sourcesIn(file) {
  if (!(await isArchive(file))) return [await file.text()];
  const texts = await textsIn(file, /(^|\/)conversations[^/]*\.json$/);
  if (!texts.length) throw new Error("it is a ZIP archive without a conversations.json.");
  return texts;
}

/** Import a file. Returns the first new conversation, or undefined, and a line that says what was done. */
export async function importFile(file) {
  let read = [];
  let empty = 0;
  try {
    for (const source of await sourcesIn(file)) {
      const found = conversationsIn(source);
      read = read.concat(found.read);
      empty += found.empty;
    }
  } catch (error) {
    return { said: `Nothing was imported from ${file.name}: ${error.message}` };
  }
  const known = new Set([...summaries.values()].map(({ digest }) => digest));
  const now = Date.now();
  // Those without a time are the newest, in the order of the file
  const fresh = read.filter((conversation) => !known.has(digestOf(conversation)));
  fresh.forEach((conversation, index) => { conversation.time ??= now - index; });
  try {
    await putConversations(fresh);
  } catch {
    return { said: `Nothing was imported from ${file.name}: this browser’s storage is full.` };
  }
  const old = read.length - fresh.length;
  const more = [
    old && `${old === 1 ? "1 was" : old + " were"} here already`,
    empty && `${empty === 1 ? "1 was" : empty + " were"} empty`,
  ].filter(Boolean);
  return { first: fresh[0], said: [`Imported ${count(fresh.length)}`, ...more].join("; ") + "." };
}

/**
 * Conversations as other programs export them: ChatGPT, Open WebUI, ShareGPT.
 *
 * Each becomes {title, created, time, system, messages}, which may be without messages. What is no text for the reader (calls of tools,
 * thoughts, hidden instructions) is left out; pictures are said to have been there.
 */

const ROLES = {
  human: "user", user: "user", prompter: "user",
  gpt: "assistant", assistant: "assistant", chatgpt: "assistant", bing: "assistant", bard: "assistant", model: "assistant",
  system: "system",
};
const NOT_SAID = new Set(["thoughts", "reasoning_recap", "user_editable_context", "model_editable_context", "execution_output", "tether_quote", "tether_browsing_display", "system_error"]);

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const milliseconds = (seconds) => (typeof seconds === "number" && seconds > 0 && seconds < 8e12 ? Math.round(seconds > 1e11 ? seconds : 1000 * seconds) : undefined);

/** A conversation of another program's; null if the value is none of these forms. */
export function foreignConversation(value) {
  if (!isObject(value)) return null;
  if (isObject(value.mapping)) return fromChatGPT(value);
  const chat = isObject(value.chat) ? value.chat : value;
  if (isObject(chat.history) && isObject(chat.history.messages)) return fromOpenWebUI(value, chat);
  if (isObject(value.chat) && Array.isArray(value.chat.messages)) return fromOpenWebUI(value, chat);
  if (Array.isArray(value.conversations)) return fromShareGPT(value);
  return null;
}

/** Where a branch ends on which the latest of each message's answers is taken. */
function lastLeaf(nodes, childrenOf) {
  const isChild = new Set([...nodes.values()].flatMap(childrenOf));
  let id = [...nodes.keys()].find((each) => !isChild.has(each));
  const seen = new Set();
  while (id !== undefined && !seen.has(id)) {
    seen.add(id);
    const next = childrenOf(nodes.get(id)).findLast((child) => nodes.has(child));
    if (next === undefined) return id;
    id = next;
  }
  return id;
}

/** The nodes from the first to a leaf. */
function branchTo(leaf, nodes, parentOf) {
  const branch = [];
  const seen = new Set();
  for (let id = leaf; nodes.has(id) && !seen.has(id); id = parentOf(nodes.get(id))) {
    seen.add(id);
    branch.unshift(nodes.get(id));
  }
  return branch;
}

/** Joins what one side said in several parts, and puts the system's apart. */
function conversationFrom(messages, { title, created, time }) {
  const system = messages.filter(({ role }) => role === "system").map(({ content }) => content).join("\n\n");
  const joined = [];
  for (const message of messages.filter(({ role }) => role !== "system")) {
    const last = joined.at(-1);
    if (last?.role === message.role && message.role === "assistant") last.content += "\n\n" + message.content;
    else joined.push(Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined)));
  }
  return { title: typeof title === "string" ? title.trim().slice(0, 80) : "", created, time: time ?? created, system, messages: joined };
}

// ---- ChatGPT: a tree of messages by id

function fromChatGPT(value) {
  const nodes = new Map(Object.entries(value.mapping).filter(([, node]) => isObject(node)));
  const leaf = nodes.has(value.current_node) ? value.current_node : lastLeaf(nodes, ({ children }) => (Array.isArray(children) ? children : []));
  const branch = branchTo(leaf, nodes, ({ parent }) => parent);
  const messages = branch.map(({ message }) => chatGPTMessage(message)).filter((message) => message?.content);
  return conversationFrom(messages, { title: value.title, created: milliseconds(value.create_time), time: milliseconds(value.update_time) });
}

function chatGPTMessage(message) {
  const role = ROLES[message?.author?.role];
  const { content, metadata, recipient } = message ?? {};
  if (!role || !isObject(content) || NOT_SAID.has(content.content_type)) return null;
  if (metadata?.is_visually_hidden_from_conversation || (recipient && recipient !== "all")) return null;
  const parts = Array.isArray(content.parts) ? content.parts : [content.text];
  const text = parts.map(partText).filter(Boolean).join("\n\n");
  return { role, content: text.trim(), time: milliseconds(message.create_time), model: role === "assistant" ? metadata?.model_slug : undefined };
}

function partText(part) {
  if (typeof part === "string") return part;
  if (typeof part?.text === "string") return part.text;
  const kind = String(part?.content_type ?? "");
  return kind.includes("image") ? "[picture]" : kind ? "[attachment]" : "";
}

// ---- Open WebUI: a tree with the latest branch beside it

function fromOpenWebUI(value, chat) {
  let branch = Array.isArray(chat.messages) ? chat.messages : [];
  if (isObject(chat.history) && isObject(chat.history.messages)) {
    const nodes = new Map(Object.entries(chat.history.messages).filter(([, node]) => isObject(node)));
    const childrenOf = ({ childrenIds }) => (Array.isArray(childrenIds) ? childrenIds : []);
    const leaf = nodes.has(chat.history.currentId) ? chat.history.currentId : lastLeaf(nodes, childrenOf);
    if (nodes.size) branch = branchTo(leaf, nodes, ({ parentId }) => parentId);
  }
  const messages = branch.map(openWebUIMessage).filter((message) => message?.content);
  const system = typeof chat.system === "string" && chat.system.trim() ? [{ role: "system", content: chat.system }] : [];
  return conversationFrom([...system, ...messages], {
    title: value.title ?? chat.title,
    created: milliseconds(value.created_at ?? chat.timestamp),
    time: milliseconds(value.updated_at),
  });
}

function openWebUIMessage(message) {
  const role = ROLES[message?.role];
  if (!role) return null;
  const parts = Array.isArray(message.content) ? message.content : [message.content];
  // What a model thought stands before its reply, folded up
  const text = parts.map(partText).filter(Boolean).join("\n\n").replace(/<details type="reasoning"[^]*?<\/details>/g, "");
  return { role, content: text.trim(), time: milliseconds(message.timestamp), model: role === "assistant" ? message.modelName ?? message.model : undefined };
}

// ---- ShareGPT: turns by who spoke

function fromShareGPT(value) {
  const messages = value.conversations.map((turn) => {
    const role = ROLES[String(turn?.from ?? turn?.role ?? "").toLowerCase()];
    const content = turn?.value ?? turn?.content ?? turn?.text;
    return role && typeof content === "string" ? { role, content: content.trim() } : null;
  });
  const system = typeof value.system === "string" && value.system.trim() ? [{ role: "system", content: value.system }] : [];
  return conversationFrom([...system, ...messages.filter((message) => message?.content)], { title: value.title });
}

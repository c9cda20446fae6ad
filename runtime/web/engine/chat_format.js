/** The chat format of `tinylm/chat_format.py`: roles are control symbols, placed by id, which no text encodes to. */

/** Encode one turn: the role's symbol, the text and, after an assistant's text, `<eos>`. */
export function encodeTurn(tokenizer, { role, content }) {
  const ids = [tokenizer.roleIds[role], ...tokenizer.encode(content)];
  if (role === "assistant") ids.push(tokenizer.eosId);
  return ids;
}

/** Encode a conversation: `<bos>` and every turn. */
export function encodeConversation(tokenizer, messages) {
  return [tokenizer.bosId, ...messages.flatMap((message) => encodeTurn(tokenizer, message))];
}

/** Encode a conversation up to and with the `<assistant>` symbol that opens the next reply. */
export function encodePrompt(tokenizer, messages) {
  return [...encodeConversation(tokenizer, messages), tokenizer.roleIds.assistant];
}

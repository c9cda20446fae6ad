// The official JavaScript client of Ollama: models, chats, streams.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: "user", content: "Hello! Who are you?" }];
const options = { model: "demo", messages, options: { temperature: 0 } };

assert.equal((await client.list()).models[0].model, "demo:latest");
const reply = (await client.chat(options)).message.content;
assert.match(reply, /Pip/);
let streamed = "";
for await (const part of await client.chat({ ...options, stream: true })) streamed += part.message.content;
assert.equal(streamed, reply);

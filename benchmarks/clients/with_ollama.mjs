// The official JavaScript client of Ollama: models, chats, streams, replies of a form.
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

const format = {
  type: "object",
  properties: { kind: { enum: ["cat", "dog"] }, legs: { type: "integer", minimum: 0, maximum: 4 } },
  required: ["kind", "legs"],
  additionalProperties: false,
};
const animal = JSON.parse((await client.chat({ ...options, format })).message.content);
assert.deepEqual(Object.keys(animal), ["kind", "legs"]);
assert.ok(format.properties.kind.enum.includes(animal.kind) && animal.legs >= 0 && animal.legs <= 4);

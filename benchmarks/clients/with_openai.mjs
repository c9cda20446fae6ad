// The official JavaScript client of OpenAI: chats, streams, responses, models.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello! Who are you?" }];
const options = { model: "demo", messages, temperature: 0 };

const models = await client.models.list();
assert.equal(models.data[0].id, "demo");
const reply = (await client.chat.completions.create(options)).choices[0].message.content;
assert.match(reply, /Pip/);
let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...options, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(streamed, reply);
const response = await client.responses.create({ model: "demo", input: messages[0].content, temperature: 0 });
assert.equal(response.output_text, reply);

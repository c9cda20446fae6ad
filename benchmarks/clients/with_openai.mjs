// The official JavaScript client of OpenAI: chats, streams, responses, models, replies of a form.
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

const schema = {
  type: "object",
  properties: { kind: { enum: ["cat", "dog"] }, legs: { type: "integer", minimum: 0, maximum: 4 } },
  required: ["kind", "legs"],
  additionalProperties: false,
};
const form = { type: "json_schema", json_schema: { name: "animal", schema, strict: true } };
const formed = await client.chat.completions.create({ ...options, response_format: form });
const animal = JSON.parse(formed.choices[0].message.content);
assert.deepEqual(Object.keys(animal), ["kind", "legs"]);
assert.ok(schema.properties.kind.enum.includes(animal.kind) && animal.legs >= 0 && animal.legs <= 4);
const text = { format: { type: "json_schema", name: "animal", schema, strict: true } };
const same = await client.responses.create({ model: "demo", input: messages[0].content, temperature: 0, text });
assert.deepEqual(JSON.parse(same.output_text), animal);

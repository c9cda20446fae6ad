// n8n's "OpenAI Chat Model" node: LangChain's ChatOpenAI, with the options that the node sets.
import assert from "node:assert/strict";
import { ChatOpenAI } from "@langchain/openai";

const baseURL = `${process.argv[2]}/v1`;
const credentials = await fetch(`${baseURL}/models`, { headers: { authorization: "Bearer none" } });
assert.ok(credentials.ok);

const node = {
  apiKey: "none",
  model: "demo",
  // The defaults of the node's options, once one adds them
  frequencyPenalty: 0,
  maxTokens: -1,
  presencePenalty: 0,
  temperature: 0,
  topP: 1,
  timeout: 60000,
  maxRetries: 2,
  configuration: { baseURL },
};
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
for (const more of [
  { modelKwargs: { response_format: { type: "text" }, reasoning_effort: "medium" } },
  { modelKwargs: {}, useResponsesApi: true },
]) {
  const model = new ChatOpenAI({ ...node, ...more });
  const reply = await model.invoke("Hello! Who are you?");
  assert.match(reply.text, /Pip/);
  let streamed = "";
  for await (const chunk of await model.stream("Hello! Who are you?")) streamed += chunk.text;
  assert.equal(streamed, reply.text);
  const agent = await model.bindTools([weather]).invoke([
    ["system", "You are a helpful assistant"],
    ["human", "Hello!"],
  ]);
  assert.ok(agent.text);
}

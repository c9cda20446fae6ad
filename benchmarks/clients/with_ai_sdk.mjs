// Vercel's AI SDK, by its provider for compatible servers and by OpenAI's (chats and responses): texts,
// streams, a tool, objects.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = `${process.argv[2]}/v1`;
const openai = createOpenAI({ baseURL, apiKey: "none" });
const compatible = createOpenAICompatible({ name: "tinylm", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true });
const weather = tool({
  description: "The weather in a city",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
  execute: async () => "sunny",
});
const animal = jsonSchema({
  type: "object",
  properties: { kind: { enum: ["cat", "dog"] }, legs: { type: "integer", minimum: 0, maximum: 4 } },
  required: ["kind", "legs"],
  additionalProperties: false,
});

for (const model of [compatible("demo"), openai.chat("demo"), openai("demo")]) {
  const asked = { model, prompt: "Hello! Who are you?", temperature: 0, maxRetries: 0 };
  const { text, usage } = await generateText(asked);
  assert.match(text, /Pip/);
  assert.ok(usage.outputTokens > 0);
  let streamed = "";
  for await (const part of streamText(asked).textStream) streamed += part;
  assert.equal(streamed, text);
  const talk = [
    { role: "user", content: "Hello!" },
    { role: "assistant", content: "Hello! I am Pip." },
    { role: "user", content: "What can you do?" },
  ];
  const more = await generateText({ model, messages: talk, system: "Be brief.", tools: { weather }, maxRetries: 0 });
  assert.ok(more.text);
  const { output } = await generateText({ ...asked, output: Output.object({ schema: animal }) });
  assert.ok(["cat", "dog"].includes(output.kind) && output.legs >= 0 && output.legs <= 4);
}

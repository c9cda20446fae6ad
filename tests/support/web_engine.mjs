// The engine of `tinylm export --web`, asked by tests: a request a line as JSON, an answer a line.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Conversation } from "../../runtime/web/engine/conversation.js";
import { TextStream } from "../../runtime/web/engine/generation.js";
import { Random } from "../../runtime/web/engine/random.js";
import { samplingOptions, TokenSampler } from "../../runtime/web/engine/sampling.js";
import { Tokenizer } from "../../runtime/web/engine/tokenizer.js";

const tokenizers = new Map();

function tokenizerOf(path) {
  if (!tokenizers.has(path)) tokenizers.set(path, new Tokenizer(readFileSync(path)));
  return tokenizers.get(path);
}

const toNumber = (value) => (typeof value === "string" ? Number(value) : value);

/** A model whose logits are whole numbers of its last tokens; `MadeUpDecoder` in Python computes the same. */
class MadeUpSession {
  constructor(contextLength, vocabSize) {
    Object.assign(this, { contextLength, vocabSize, ids: [] });
  }

  get length() {
    return this.ids.length;
  }

  truncate(length) {
    this.ids.length = length;
  }

  async append(ids) {
    if (this.length + ids.length > this.contextLength) throw new Error("too long");
    this.ids.push(...ids);
    const seed = this.ids.slice(-3).reduce((sum, id) => (sum * 31 + id) % 65521, 7);
    return Float32Array.from({ length: this.vocabSize }, (_, id) => (seed * (id + 1)) % 1009);
  }
}

const answers = {
  encode: ({ model, texts }) => texts.map((text) => tokenizerOf(model).encode(text)),
  decode: ({ model, ids }) => tokenizerOf(model).decode(ids),
  stream: ({ model, ids, stop }) => {
    const stream = new TextStream(tokenizerOf(model), stop);
    const pieces = [];
    for (const id of ids) {
      pieces.push(stream.feed(id));
      if (stream.stopped) break;
    }
    return [...pieces, stream.finish()];
  },
  least: ({ model, text }) => tokenizerOf(model).leastTokens(text),
  random: ({ seed, count }) => {
    const random = new Random(BigInt(seed));
    return Array.from({ length: count }, () => random.random());
  },
  options: ({ options }) => samplingOptions(options),
  choose: ({ model, options, logits, context, reply, count }) => {
    const sampler = new TokenSampler(tokenizerOf(model), samplingOptions(options));
    return Array.from({ length: count }, () => sampler.choose(Float32Array.from(logits, toNumber), context, reply));
  },
  converse: async ({ model, context_length, conversations, options, forgetful }) => {
    const tokenizer = tokenizerOf(model);
    const session = new MadeUpSession(context_length, tokenizer.vocabSize);
    const conversation = new Conversation(session, tokenizer);
    const results = [];
    let said = [];
    let left = 0;
    for (const { messages, keep } of conversations) {
      // The first `keep` messages of what was said so far, and new ones
      const now = [...said.slice(0, keep), ...messages];
      left = forgetful ? Math.min(left, now.length - 1) : 0;
      try {
        let pieces = "";
        let dropped;
        const calls = {
          onDropped: (count) => (dropped = left + count),
          onText: (text) => (pieces += text),
          shouldStop: () => false,
        };
        const result = await conversation.reply(now.slice(left), samplingOptions(options), calls);
        said = [...now, { role: "assistant", content: result.reply }];
        results.push({ ...result, pieces, droppedMessages: dropped, cached: [...session.ids] });
        left = dropped;
      } catch (error) {
        results.push({ error: error.message });
      }
    }
    return results;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: await answers[ask](request) };
  } catch (error) {
    answer = { error: String(error.message) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

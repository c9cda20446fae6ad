// Where a token's time goes in the engine of a page, counted in Node; called by web.py.
// Usage: node web_account.mjs BUNDLE NODE_MODULES [ROUNDS]. The last line is JSON: microseconds a token, medians of rounds.
// Before it comes onnxruntime's profile.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { OnnxRuntime } from "../runtime/web/engine/onnxruntime.js";
import { samplingOptions, TokenSampler } from "../runtime/web/engine/sampling.js";
import { Session } from "../runtime/web/engine/session.js";
import { Tokenizer } from "../runtime/web/engine/tokenizer.js";

const [bundle, modules] = process.argv.slice(2, 4).map((argument) => path.resolve(argument));
const read = (name) => new Uint8Array(readFileSync(path.join(bundle, name)));
const DIST = path.join(modules, "onnxruntime-web", "dist");
const [PROMPT, TOKENS, ROUNDS] = [64, 40, Number(process.argv[4] ?? 9)];

const manifest = JSON.parse(readFileSync(path.join(bundle, "manifest.json"), "utf8"));
const { context_length: context, vocab_size: vocabulary } = manifest.model;
const prompt = Array.from({ length: PROMPT }, (_, place) => (7 + 611 * place) % vocabulary);
const median = (values) => values.sort((one, other) => one - other)[values.length >> 1];

async function timed(round) {
  const times = [];
  for (let number = 0; number < ROUNDS; number++) {
    // Processor time, which other programs on the machine hardly change
    const started = process.cpuUsage();
    await round();
    const { user, system } = process.cpuUsage(started);
    times.push((user + system) / TOKENS);
  }
  return median(times);
}

/** The engine: the cache stays in the WebAssembly's memory. */
async function engine(isProfiled = false) {
  const factory = (await import(pathToFileURL(path.join(DIST, "ort-wasm-simd-threaded.mjs")))).default;
  const wasm = new Uint8Array(readFileSync(path.join(DIST, "ort-wasm-simd-threaded.wasm")));
  const runtime = await OnnxRuntime.create(factory, wasm);
  const weights = read("model.onnx");
  const graph = await runtime.load(weights);
  const decode = await runtime.load(read("decode.onnx"), { "model.onnx": weights }, isProfiled);
  const session = new Session(runtime, graph, decode, manifest.model);
  const tokens = async (each) => {
    session.truncate(0);
    await session.append(prompt);
    for (let number = 0; number < TOKENS; number++) await each((7 + 611 * number) % vocabulary);
  };
  return { runtime, decode, session, tokens };
}

/** onnxruntime-web's own JavaScript, which is handed the whole cache and hands it back at each token. */
async function copying() {
  const ort = createRequire(path.join(modules, "onnxruntime-web"))("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1;
  const options = { externalData: [{ path: "model.onnx", data: read("model.onnx") }] };
  const session = await ort.InferenceSession.create(read("decode.onnx"), options);
  const [heads, width] = [manifest.model.num_kv_heads || manifest.model.nhead, manifest.model.d_model / manifest.model.nhead];
  const feeds = {};
  for (const name of session.inputNames.filter((each) => each.startsWith("past"))) {
    feeds[name] = new ort.Tensor("float32", new Float32Array(heads * context * width), [1, heads, context, width]);
  }
  return timed(async () => {
    for (let length = PROMPT + 1; length <= PROMPT + TOKENS; length++) {
      feeds.input_ids = new ort.Tensor("int64", BigInt64Array.of(7n), [1, 1]);
      if (session.inputNames.includes("previous_ids")) feeds.previous_ids = feeds.input_ids;
      feeds.attention_mask = new ort.Tensor("int64", new BigInt64Array(length).fill(1n), [1, length]);
      const outputs = await session.run(feeds);
      for (const name of Object.keys(feeds)) {
        if (name.startsWith("past")) feeds[name] = outputs[name.replace("past_key_values", "present")];
      }
    }
  });
}

/** Have onnxruntime write its profile, a line for each kernel of each token, to standard output. */
async function profile() {
  const { runtime, decode, tokens, session } = await engine(true);
  for (let number = 0; number < 3; number++) await tokens((id) => session.append([id]));
  runtime.endProfiling(decode);
}

const { session, tokens } = await engine();
const sampler = new TokenSampler(new Tokenizer(read("tokenizer.model")), samplingOptions({ seed: 1 }));
await tokens((id) => session.append([id]));
const prefill = await timed(async () => (session.truncate(0), session.append(prompt)));
const append = await timed(() => tokens((id) => session.append([id])));
const sampled = await timed(() => tokens(async (id) => sampler.choose(await session.append([id]), session.ids)));
await profile();
const result = {
  us_graph: append - prefill,
  us_sampling: sampled - append,
  us_cache_copied: (await copying()) - (append - prefill),
};
process.stdout.write("\n" + JSON.stringify(result) + "\n");
process.exit(0);

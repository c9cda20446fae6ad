/** Load a bundle in the browser, and check that it computes here what it computed where it was exported. */

import { encodePrompt } from "./chat_format.js";
import { OnnxRuntime } from "./onnxruntime.js";
import { argmax } from "./sampling.js";
import { Session } from "./session.js";
import { Tokenizer } from "./tokenizer.js";
import { unpack } from "./unpacking.js";

/** Names of a page's files; those of a bundle are named as there. */
const WASM = "onnxruntime.wasm";
const MODEL = "model.onnx";
const DECODE = "decode.onnx";
const TOKENIZER = "tokenizer.model";
const MANIFEST = "manifest.json";

/**
 * Load a model.
 *
 * @param {Function} factory of onnxruntime's WebAssembly.
 * @param {Record<string, string | Uint8Array>} files packed with gzip, as bytes or as base64 text; emptied meanwhile.
 * @param {(part: number, what: string) => void} onProgress told how far it is, from 0 to 1, and what is done next.
 * @returns {Promise<{manifest: object, session: Session, tokenizer: Tokenizer, runtime: OnnxRuntime}>}
 * @throws {Error} the model cannot be loaded, or computes something else here.
 */
export async function loadModel(factory, files, onProgress) {
  const take = async (name) => {
    const file = files[name];
    delete files[name];
    return unpack(file);
  };
  onProgress(0, "Unpacking");
  const manifest = JSON.parse(new TextDecoder().decode(await take(MANIFEST)));
  const tokenizer = new Tokenizer(await take(TOKENIZER));
  checkTokenizer(tokenizer, manifest);
  const wasm = await take(WASM);
  onProgress(0.3, "Starting");
  const runtime = await OnnxRuntime.create(factory, wasm);
  onProgress(0.6, "Loading the model");
  const weights = await take(MODEL);
  const graph = await runtime.load(weights);
  onProgress(0.8, "Loading the model");
  const decode = files[DECODE] ? await runtime.load(await take(DECODE), { [MODEL]: weights }) : graph;
  const session = new Session(runtime, graph, decode, manifest.model);
  onProgress(0.9, "Checking");
  await checkGolden(session, tokenizer, manifest.golden);
  onProgress(1, "Ready");
  return { manifest, session, tokenizer, runtime };
}

function checkTokenizer(tokenizer, manifest) {
  const { bos, eos, ...roles } = manifest.special_tokens;
  const agrees =
    tokenizer.vocabSize === manifest.model.vocab_size &&
    tokenizer.bosId === bos &&
    tokenizer.eosId === eos &&
    Object.entries(roles).every(([role, id]) => tokenizer.roleIds[role] === id);
  if (!agrees) throw new Error("the tokenizer and the manifest of this page disagree: export it again");
}

/** Compare the golden ids and the golden continuation; see `runtime/verification.py`. */
async function checkGolden(session, tokenizer, golden) {
  const ids = encodePrompt(tokenizer, golden.conversation).slice(0, session.contextLength - 1);
  if (!equal(ids, golden.ids)) {
    throw new Error("this browser splits the golden text into other tokens than where the model was exported");
  }
  const continuation = [];
  let pending = ids;
  while (continuation.length < golden.continuation.length) {
    const logits = await session.append(pending);
    for (const id of tokenizer.neverSampled) logits[id] = -Infinity;
    const token = argmax(logits);
    continuation.push(token);
    pending = [token];
  }
  if (!equal(continuation, golden.continuation)) {
    throw new Error("this browser continues the golden text differently from where the model was exported; update it");
  }
  session.truncate(0);
}

function equal(one, other) {
  return one.length === other.length && one.every((value, place) => value === other[place]);
}

/**
 * The model of a page in a worker, so that the page never waits for it.
 *
 * Messages to the worker, each with the `id` of a request:
 *   {load: {name: base64 text of a file, or its bytes}}  is answered by {progress, what} and at last by {ready: manifest}
 *   {chat: {messages, settings}}                         is answered by {dropped}, {text} and at last by {result}
 *   {stop: true}                                         ends the reply of that request
 * Each request can be answered by {error, kind} instead.
 */

import factory from "onnxruntime-factory";

import { ContextFullError, Conversation } from "./conversation.js";
import { loadModel } from "./model.js";
import { samplingOptions } from "./sampling.js";

// A reply looks for messages, and gives away its text, so often: each look takes part of a token's time
const PAUSE_MS = 4;

let model;
let conversation;
const stopped = new Set();

/** Lets messages come in. A timer would wait for 4 ms each time. */
const pause = (() => {
  const { port1, port2 } = new MessageChannel();
  let waiting;
  port1.onmessage = () => waiting();
  return () => new Promise((resolve) => ((waiting = resolve), port2.postMessage(null)));
})();

async function load(id, files) {
  model = await loadModel(factory, files, (progress, what) => postMessage({ id, progress, what }));
  conversation = new Conversation(model.session, model.tokenizer);
  postMessage({ id, ready: model.manifest });
}

async function chat(id, { messages, settings }) {
  const options = samplingOptions(settings, model.manifest.sampling);
  let text = "";
  let paused = -Infinity;
  const give = () => {
    if (text) postMessage({ id, text });
    text = "";
  };
  const shouldStop = async () => {
    if (performance.now() - paused >= PAUSE_MS) {
      give();
      await pause();
      paused = performance.now();
    }
    return stopped.has(id);
  };
  const onDropped = (dropped) => postMessage({ id, dropped });
  const onText = (piece) => void (text += piece);
  const result = await conversation.reply(messages, options, { onDropped, onText, shouldStop });
  give();
  postMessage({ id, result });
}

async function answer({ id, ...request }) {
  try {
    if (request.load) await load(id, request.load);
    else await chat(id, request.chat);
  } catch (error) {
    const kind = error instanceof ContextFullError ? "too_long" : error instanceof RangeError ? "option" : "failed";
    postMessage({ id, error: String(error?.message ?? error), kind });
  } finally {
    stopped.delete(id);
  }
}

// One request after the other: they share the cache
let last = Promise.resolve();

onmessage = ({ data }) => {
  if (data.stop) stopped.add(data.id);
  else last = last.then(() => answer(data));
};

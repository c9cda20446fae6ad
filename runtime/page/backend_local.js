/**
 * Replies from a model that the page itself carries, in a worker; the interface is described in `backend_server.js`.
 *
 * The page's data are `web-model`, JSON with the model's name and the names of its files; as base64 text the files, packed
 * with gzip (`web-file-0`, `web-file-1`, …), and the worker's script (`web-engine`).
 */

import { BackendError } from "./backend_error.js";

export function createBackend() {
  const model = new LocalModel();
  return {
    ready: (onProgress) => model.ready(onProgress),
    models: async () => [await model.facts()],
    health: async () => void (await model.facts()),
    chat: (request) => model.chat(request),
  };
}

class LocalModel {
  #worker = null;
  #loaded = null; // a promise of the manifest
  #name = "";
  #takers = new Map(); // by request, who takes the worker's messages
  #requests = 0;
  #onProgress = () => {};

  async ready(onProgress = () => {}) {
    this.#onProgress = onProgress;
    await this.#load();
    // A page of several files, on a web server, works without it from now on
    if (document.querySelector("link[rel=manifest]")) navigator.serviceWorker?.register("service-worker.js").catch(() => {});
  }

  async facts() {
    const { model, sampling } = await this.#load();
    return { id: this.#name, context_length: model.context_length, defaults: sampling };
  }

  async *chat({ messages, settings, signal }) {
    await this.#load();
    signal?.throwIfAborted();
    const id = this.#send({ chat: { messages, settings } });
    const stop = () => this.#worker.postMessage({ id, stop: true });
    let ended = false;
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for await (const message of this.#answersTo(id, signal)) {
        if (message.dropped) yield { dropped_messages: message.dropped };
        if (message.text) yield { text: message.text };
        if (!message.result) continue;
        ended = true;
        yield { finish_reason: message.result.finishReason, usage: usageOf(message.result) };
        return;
      }
    } finally {
      // Also where whoever asked reads no further
      if (!ended) stop();
      signal?.removeEventListener("abort", stop);
    }
  }

  #load() {
    this.#loaded ??= this.#start();
    return this.#loaded;
  }

  async #start() {
    await complete();
    const { name, files } = JSON.parse(takeData("web-model"));
    this.#name = name;
    const engine = Uint8Array.from(atob(takeData("web-engine")), (character) => character.charCodeAt(0));
    const script = URL.createObjectURL(new Blob([engine], { type: "text/javascript" }));
    this.#worker = new Worker(script);
    this.#worker.onmessage = ({ data }) => this.#takers.get(data.id)?.(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const take of this.#takers.values()) take({ error: event.message || "its worker has ended", kind: "failed" });
    };
    const load = Object.fromEntries(files.map((file, number) => [file, takeData(`web-file-${number}`)]));
    try {
      for await (const message of this.#answersTo(this.#send({ load }))) {
        if (message.ready) return message.ready;
        this.#onProgress(message.progress, message.what);
      }
    } catch (error) {
      this.#worker.terminate(); // and with it goes its memory
      throw error;
    }
  }

  #send(request) {
    const id = ++this.#requests;
    this.#worker.postMessage({ id, ...request });
    return id;
  }

  /** The worker's messages about a request, as they come. */
  async *#answersTo(id, signal) {
    const come = [];
    let wake = () => {};
    const take = (message) => {
      come.push(message);
      wake();
    };
    const stopped = () => take({ aborted: true });
    this.#takers.set(id, take);
    signal?.addEventListener("abort", stopped);
    try {
      for (;;) {
        signal?.throwIfAborted();
        if (!come.length) await new Promise((resolve) => (wake = resolve));
        for (const message of come.splice(0)) {
          signal?.throwIfAborted();
          if (message.error) throw errorOf(message);
          yield message;
        }
      }
    } finally {
      signal?.removeEventListener("abort", stopped);
      this.#takers.delete(id);
    }
  }
}

/** The text of an element that carries data; the element goes, as its text would take memory twice. */
function takeData(id) {
  const carrier = document.getElementById(id);
  const text = carrier.textContent;
  carrier.remove();
  return text;
}

/** The script runs before the page's data are read. */
const complete = () =>
  new Promise((resolve) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
    else resolve();
  });

const usageOf = ({ promptTokens, completionTokens, timeToFirstTokenS, decodeTokensPerSecond }) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  time_to_first_token_s: timeToFirstTokenS,
  decode_tokens_per_second: decodeTokensPerSecond,
});

function errorOf({ error, kind }) {
  const text = error[0].toUpperCase() + error.slice(1).replace(/[.!?]*$/, ".");
  if (kind === "failed") return new BackendError("refused", `The model in this page has failed. ${text}`);
  return new BackendError("refused", text, { code: kind === "too_long" ? "too_long" : null });
}

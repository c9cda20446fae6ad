/**
 * Replies from `tinylm serve`.
 *
 * A backend, whatever is behind it, has
 *   async ready(onProgress): resolves when it can be asked; `onProgress(part, what)` is called meanwhile, part from 0 to 1
 *   async models(): [{id, context_length, bundle, defaults}], the first one answers; unknown values are left out
 *   async health(): resolves if it can be asked; throws a BackendError otherwise
 *   chat({model, messages, settings, signal}): an async iterator of {text, finish_reason, usage, dropped_messages}, each with
 *     what there is: pieces of the reply; at the end why it ended and `usage` {prompt_tokens, completion_tokens,
 *     time_to_first_token_s, decode_tokens_per_second}; `dropped_messages`: how many of the oldest messages, system messages
 *     not counted, were left out because they do not fit the context. `settings`: {temperature, top_k, top_p, min_p,
 *     repetition_penalty, seed, max_new_tokens}, each with what is set.
 *   place: a line for people about where what they write goes
 * Errors are BackendErrors; an AbortError when the signal has stopped it.
 */

import { BackendError } from "./backend_error.js";
import { kept } from "./storage.js";

export function createBackend() {
  const server = new Server();
  return {
    place: "A small model on a small machine. What you write goes to the machine that runs it, and is kept in this browser.",
    ready: async () => {},
    models: () => server.models(),
    health: async () => void await send("health"),
    chat: (request) => server.chat(request),
  };
}

class Server {
  #contextLength = 0; // in tokens; 0 where the server does not say
  #density = 0.3; // tokens to a character, as the last reply counted them

  async models() {
    const list = await (await send("v1/models")).json().catch(() => null);
    if (!Array.isArray(list?.data)) throw new BackendError("refused", "This server’s list of models cannot be read.");
    const models = list.data.map((model) => ({ ...model, id: String(model?.id ?? "Model") }));
    this.#contextLength = models[0]?.context_length ?? 0;
    return models;
  }

  async *chat({ model, messages, settings, signal }) {
    const { max_new_tokens, ...options } = settings;
    const shortened = new Shortened(messages);
    const room = this.#contextLength && this.#contextLength - Math.min(max_new_tokens ?? Infinity, this.#contextLength / 4);
    shortened.makeRoom(room, this.#contextLength / 8, this.#density);
    let response = null;
    while (!response) {
      const body = {
        model,
        messages: shortened.messages,
        stream: true,
        stream_options: { include_usage: true },
        ...options,
        ...(max_new_tokens !== undefined && { max_tokens: max_new_tokens }),
      };
      try {
        response = await send("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
      } catch (error) {
        if (error.code !== "too_long" || !shortened.dropOldest()) throw error;
      }
    }
    if (shortened.dropped) yield { dropped_messages: shortened.dropped };
    for await (const event of eventsOf(response.body)) {
      if (event.usage) this.#density = event.usage.prompt_tokens / shortened.characters;
      yield event;
    }
  }
}

/** The messages of a request, of which the oldest exchanges can be left out. */
class Shortened {
  dropped = 0;
  #system;
  #turns;

  constructor(messages) {
    this.#system = messages.filter(({ role }) => role === "system");
    this.#turns = messages.filter(({ role }) => role !== "system");
  }

  get messages() {
    return [...this.#system, ...this.#turns];
  }

  get characters() {
    return this.messages.reduce((sum, { content }) => sum + content.length, 0);
  }

  /** Leave out one exchange, or several of very many. False when only the last message is left. */
  dropOldest() {
    const starts = this.#turns.flatMap(({ role }, index) => (role === "user" && index > 0 ? [index] : []));
    if (!starts.length) return false;
    const start = starts[Math.floor(starts.length / 8)];
    this.#turns = this.#turns.slice(start);
    this.dropped += start;
    return true;
  }

  /** Leave out what would leave no room for a reply, as far as can be foreseen; the server has the last word. */
  makeRoom(tokens, more, density) {
    const wanted = () => this.characters * density;
    if (!tokens || wanted() <= tokens) return;
    // Some more than must go: otherwise each message from now on would drop some, and the rest be read anew
    while (wanted() > tokens - more && this.dropOldest());
  }
}

function headers() {
  const key = kept.get("key");
  return { "Content-Type": "application/json", ...(key && { Authorization: "Bearer " + key }) };
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { headers: headers(), cache: "no-store", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : gone();
  }
  if (response.ok) return response;
  const said = (await response.json().catch(() => null))?.error ?? {};
  throw errorOf(response, said);
}

const gone = () => new BackendError("gone", "The server cannot be reached.");

function errorOf({ status, statusText, headers }, { message, code, param }) {
  const text = sentence(message || `the server answered ${status} ${statusText}`.trim());
  const retry_after = secondsOf(headers.get("Retry-After"));
  if (status === 401) return new BackendError("locked", text);
  if (status === 429) return new BackendError("busy", "The server is busy with others.", { retry_after: retry_after ?? 5 });
  if (status === 503 && retry_after) return new BackendError("busy", "The server is not ready.", { retry_after });
  if (status === 404) return new BackendError("refused", text, { code: "no_model" });
  const tooLong = code === "context_length_exceeded" || status === 413 || (status === 400 && param === "messages");
  return new BackendError("refused", text, { code: tooLong ? "too_long" : null });
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function secondsOf(retryAfter) {
  if (!retryAfter) return null;
  const seconds = Number.isNaN(Number(retryAfter)) ? (Date.parse(retryAfter) - Date.now()) / 1000 : Number(retryAfter);
  return Number.isFinite(seconds) ? Math.max(1, Math.ceil(seconds)) : null;
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new BackendError("refused", "The answer of the server cannot be read.");
  }
}

/** The parts of a streamed reply. Throws where the connection breaks before its end. */
async function* eventsOf(body) {
  let ended = false;
  for await (const data of dataOf(body)) {
    if (data === "[DONE]") return;
    const event = parsed(data);
    if (event.error) throw new BackendError("refused", sentence(event.error.message || "the server failed"));
    const [choice] = event.choices ?? [];
    const part = {
      ...(choice?.delta?.content && { text: choice.delta.content }),
      ...(choice?.finish_reason && { finish_reason: choice.finish_reason }),
      ...(event.usage && { usage: event.usage }),
    };
    ended ||= Boolean(choice?.finish_reason);
    if (Object.keys(part).length) yield part;
  }
  if (!ended) throw gone();
}

/** The data of server-sent events. */
async function* dataOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const read = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      return { done: true }; // broken off: whoever reads on misses the last event
    });
    if (read.done) return;
    const lines = (rest + read.value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

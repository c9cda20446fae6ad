/**
 * Where conversations are kept: IndexedDB, which has room for more than a few megabytes.
 *
 * Beside each conversation stands its summary {id, title, time, digest}; only the summaries are read when the page opens.
 * Where the browser keeps nothing, conversations last as long as the page.
 */

import { isConversation, summaryOf } from "./conversations.js";
import { kept } from "./storage.js";

const WHOLE = "conversations";
const BRIEF = "summaries";
const OLD = "chat."; // where earlier versions of this page kept conversations, in localStorage

/** What is kept, by id. */
export const summaries = new Map();

const memory = new Map();
let database = null;
const others = typeof BroadcastChannel === "function" ? new BroadcastChannel("tinylm") : null;

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("tinylm", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(WHOLE, { keyPath: "id" });
      request.result.createObjectStore(BRIEF, { keyPath: "id" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

/** Open the store and read the summaries. False where this browser keeps nothing. */
export async function openStore() {
  try {
    database = await opened();
    database.onversionchange = () => database.close();
    await readSummaries();
  } catch {
    database = null;
  }
  await takeOver();
  return database !== null;
}

async function readSummaries() {
  const read = await settled(database.transaction(BRIEF).objectStore(BRIEF).getAll());
  summaries.clear();
  for (const summary of read) summaries.set(summary.id, summary);
}

/** Move what an earlier version of this page has kept. */
async function takeOver() {
  const names = kept.names().filter((name) => name.startsWith(OLD));
  const old = names.map((name) => kept.get(name)).filter((value) => isConversation(value) && value.messages.length);
  if (!names.length) return;
  try {
    await putConversations(old.filter(({ id }) => !summaries.has(id)));
    for (const name of names) kept.remove(name);
  } catch {
    // No room for both: they stay where they are
  }
}

/** Write to both stores in one transaction; it is on its way to the disk when this returns. */
function write(change) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([WHOLE, BRIEF], "readwrite");
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
    change(transaction.objectStore(WHOLE), transaction.objectStore(BRIEF));
    transaction.commit();
  });
}

/** A kept conversation; null where there is none. */
export async function getConversation(id) {
  if (typeof id !== "string") return null;
  const found = database ? await settled(database.transaction(WHOLE).objectStore(WHOLE).get(id)) : structuredClone(memory.get(id));
  return isConversation(found) ? found : null;
}

/** Keep conversations, all or none. Throws where there is no room. */
export async function putConversations(conversations) {
  const briefs = conversations.map(summaryOf);
  const before = briefs.map(({ id }) => summaries.get(id));
  for (const summary of briefs) summaries.set(summary.id, summary);
  if (database) {
    try {
      await write((whole, brief) => {
        for (const conversation of conversations) whole.put(conversation);
        for (const summary of briefs) brief.put(summary);
      });
    } catch (error) {
      briefs.forEach(({ id }, index) => (before[index] ? summaries.set(id, before[index]) : summaries.delete(id)));
      throw error;
    }
  } else {
    for (const conversation of conversations) memory.set(conversation.id, structuredClone(conversation));
  }
  others?.postMessage(conversations.map(({ id }) => id));
}

export async function removeConversation(id) {
  summaries.delete(id);
  if (database) await write((whole, brief) => { whole.delete(id); brief.delete(id); });
  else memory.delete(id);
  others?.postMessage([id]);
}

/** All kept conversations, some at a time, in no order. */
export async function* someConversations(most = 100) {
  if (!database) return yield [...memory.values()].map((value) => structuredClone(value));
  let range = null;
  for (;;) {
    const read = await settled(database.transaction(WHOLE).objectStore(WHOLE).getAll(range, most));
    if (!read.length) return;
    yield read.filter(isConversation);
    range = IDBKeyRange.lowerBound(read.at(-1).id, true);
  }
}

/** All kept conversations, the latest first. */
export async function allConversations() {
  const all = [];
  for await (const some of someConversations()) all.push(...some);
  return all.sort((one, other) => other.time - one.time);
}

export const latestFirst = () => [...summaries.values()].sort((one, other) => other.time - one.time);

/** Call a function with the ids of what another tab has changed. */
export function onChangeElsewhere(heard) {
  if (!others) return;
  others.onmessage = async ({ data }) => {
    if (!database) return;
    for (const id of data) {
      const summary = await settled(database.transaction(BRIEF).objectStore(BRIEF).get(id));
      if (summary) summaries.set(id, summary);
      else summaries.delete(id);
    }
    heard(data);
  };
}

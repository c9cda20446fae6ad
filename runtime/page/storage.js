/** Small things that the browser keeps: settings, the key, drafts. They are read and written at once (localStorage). */

const PREFIX = "tinylm.";
const memory = new Map();
const storage = (() => {
  try {
    localStorage.setItem(PREFIX + "try", "");
    localStorage.removeItem(PREFIX + "try");
    return localStorage;
  } catch {
    return null; // blocked: this visit goes on without it
  }
})();

export const kept = {
  get(name) {
    try {
      return JSON.parse(storage ? storage.getItem(PREFIX + name) : memory.get(name) ?? null);
    } catch {
      return null;
    }
  },
  /** Throws where there is no room. */
  set(name, value) {
    const text = JSON.stringify(value);
    if (storage) storage.setItem(PREFIX + name, text);
    else memory.set(name, text);
  },
  remove(name) {
    if (storage) storage.removeItem(PREFIX + name);
    else memory.delete(name);
  },
  names() {
    return storage
      ? Object.keys(storage).filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length))
      : [...memory.keys()];
  },
};

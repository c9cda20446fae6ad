/** Puts the page together: what happens on which button, and what is shown when something has changed. */

import { endEdit, fitText, startEdit } from "./composer.js";
import { connect, showModel, showRest } from "./connection.js";
import { showList } from "./conversation_list.js";
import { conversations, keptConversation, newConversation, titleOf } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { closeSide, sideIsOpen } from "./drawer.js";
import { showMessages } from "./messages.js";
import { hideNotice, keep, noticeIsShown, notify } from "./notices.js";
import { retry, stop } from "./reply.js";
import { toEnd } from "./scrolling.js";
import { showTheme } from "./settings_dialog.js";
import { say } from "./speech.js";
import { changed, onChange, settings, state } from "./state.js";
import { CHAT, PREFIX, keepsNothing, kept } from "./storage.js";
import { contentOf, conversationsOf, download } from "./transfer.js";

/** Show another conversation; a reply under way is stopped, and what there is of it kept. */
function turnTo(conversation) {
  stop();
  state.running = null;
  endEdit();
  hideNotice();
  showRest();
  state.current = conversation;
  keep("current", conversation.id);
  changed();
  toEnd(true);
}

function openConversation(id) {
  const conversation = keptConversation(id);
  if (conversation && id !== state.current.id) {
    turnTo(conversation);
    say(titleOf(conversation));
  }
  closeSide();
}

function startNew() {
  if (state.current.messages.length) turnTo(newConversation(settings.system));
  closeSide();
  focusText();
}

function deleteCurrent() {
  const conversation = state.current;
  stop();
  kept.remove(CHAT + conversation.id);
  turnTo(newConversation(settings.system));
  closeSide();
  notify(`Deleted “${titleOf(conversation).slice(0, 40)}”.`, [["Undo", () => {
    keep(CHAT + conversation.id, conversation);
    turnTo(conversation);
  }]]);
  focusText();
}

async function importFile(file) {
  let read;
  try {
    read = conversationsOf(await file.text());
  } catch (error) {
    return notify(`Nothing was imported from ${file.name}: ${error.message}`);
  }
  const known = new Set(conversations().map(contentOf));
  const fresh = read.filter((conversation) => !known.has(contentOf(conversation)));
  const now = Date.now();
  try {
    // The first of a file is the newest, as in the list
    fresh.forEach((conversation, index) => kept.set(CHAT + conversation.id, { ...conversation, time: now - index }));
  } catch {
    for (const conversation of fresh) kept.remove(CHAT + conversation.id);
    return notify(`Nothing was imported from ${file.name}: this browser’s storage is full.`);
  }
  const count = (number) => `${number} ${number === 1 ? "conversation" : "conversations"}`;
  const old = read.length - fresh.length;
  closeSide();
  if (fresh.length) turnTo(kept.get(CHAT + fresh[0].id));
  notify(`Imported ${count(fresh.length)}${old ? `; ${old === 1 ? "1 was" : old + " were"} here already` : ""}.`);
}

onChange(() => {
  showMessages({ edit: startEdit, retry });
  showList({ open: openConversation, exportCurrent: () => download([state.current]), deleteCurrent });
  toEnd();
});

element("new").addEventListener("click", startNew);
element("new-too").addEventListener("click", startNew);
element("export").addEventListener("click", () => download(conversations()));
element("import").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) await importFile(file);
  target.value = "";
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (sideIsOpen()) closeSide();
  else if (state.running) stop();
  else if (state.editing) element("cancel-edit").click();
  else if (noticeIsShown()) hideNotice();
});

addEventListener("storage", ({ key }) => {
  // Another tab has changed something
  if (!key?.startsWith(PREFIX + CHAT) || state.running) return;
  const other = keptConversation(state.current.id);
  if (other && !state.editing) state.current = other;
  changed();
});

showTheme();
showModel();
fitText();
changed();
toEnd(true);
focusText();
connect();
if (keepsNothing) notify("This browser keeps nothing of this page. Export what you want to keep.");

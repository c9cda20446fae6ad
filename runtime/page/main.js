/** Puts the page together: what happens on which button, and what is shown when something has changed. */

import { forgetDraft, showDraft } from "./composer.js";
import { connect, onConnected, showModel, showRest } from "./connection.js";
import { showMeter } from "./context_meter.js";
import { showList } from "./conversation_list.js";
import { newConversation, titleOf } from "./conversations.js";
import { element, focusText } from "./dom.js";
import { closeSide, sideIsOpen } from "./drawer.js";
import { forgetEdit, resumeEdit } from "./edit_drafts.js";
import { cancelEdit, edit, editLast, remove, save, sendAgain, turnVersion } from "./editing.js";
import { download } from "./exporting.js";
import { importFile } from "./importing.js";
import { keep, keepConversation } from "./keeping.js";
import { showMessages } from "./messages.js";
import { hideNotice, noticeIsShown, notify } from "./notices.js";
import { retry, sendWaiting, stop } from "./reply.js";
import { toEnd } from "./scrolling.js";
import { endSearch, searchAgain } from "./search.js";
import { showTheme } from "./settings_dialog.js";
import { say } from "./speech.js";
import { changed, onChange, settings, state } from "./state.js";
import { kept } from "./storage.js";
import { allConversations, getConversation, onChangeElsewhere, openStore, removeConversation } from "./store.js";

/** Show another conversation; a reply under way is stopped, and what there is of it kept. */
function turnTo(conversation) {
  stop();
  state.running = null;
  hideNotice();
  showRest();
  state.current = conversation;
  resumeEdit();
  keep("current", conversation.id);
  showDraft();
  changed();
  toEnd(true);
}

async function openConversation(id) {
  const conversation = id === state.current.id ? null : await getConversation(id);
  if (conversation) {
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

function rename(title) {
  state.current.title = title;
  keepConversation(state.current);
  searchAgain();
}

function deleteCurrent() {
  const conversation = state.current;
  stop();
  removeConversation(conversation.id);
  forgetDraft(conversation);
  forgetEdit(conversation);
  turnTo(newConversation(settings.system));
  searchAgain();
  closeSide();
  notify(`Deleted “${titleOf(conversation).slice(0, 40)}”.`, [["Undo", () => {
    keepConversation(conversation);
    turnTo(conversation);
  }]]);
  focusText();
}

async function importFiles(files) {
  const lines = [];
  let first = null;
  for (const file of files) {
    const done = await importFile(file);
    first ??= done.first;
    lines.push(done.said);
  }
  closeSide();
  endSearch();
  if (first) turnTo(first);
  notify(lines.join(" "));
}

const messageActions = { edit, remove, retry, save, sendAgain, cancelEdit, showVersion: turnVersion };
const listActions = { open: openConversation, rename, exportCurrent: () => download([state.current]), deleteCurrent };

onChange(() => {
  showMessages(messageActions);
  showList(listActions);
  showMeter();
  toEnd();
});
onConnected(() => sendWaiting(openConversation));

element("new").addEventListener("click", startNew);
element("new-too").addEventListener("click", startNew);
element("text").addEventListener("edit-last", editLast);
element("export").addEventListener("click", async () => download(await allConversations()));
element("import").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", async ({ target }) => {
  if (target.files.length) await importFiles([...target.files]);
  target.value = "";
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (sideIsOpen()) closeSide();
  else if (state.running) stop();
  else if (state.editing) cancelEdit();
  else if (noticeIsShown()) hideNotice();
});

onChangeElsewhere(async (ids) => {
  if (!state.running && !state.editing && ids.includes(state.current.id)) {
    state.current = await getConversation(state.current.id) ?? state.current;
  }
  changed();
});

async function begin() {
  showTheme();
  showModel();
  showDraft();
  const isKept = await openStore();
  state.current = await getConversation(kept.get("current")) ?? state.current;
  state.waiting = kept.get("waiting");
  resumeEdit();
  showDraft();
  changed();
  toEnd(true);
  focusText();
  connect();
  if (!isKept) notify("This browser keeps nothing of this page. Export what you want to keep.");
}

begin();

/** Export, in OpenAI's form: what `tinylm train --finetune` reads. What it has no place for stands beside, for import. */

import { inOpenAIForm } from "./conversations.js";
import { make } from "./dom.js";
import { versionCount, versionsOf } from "./versions.js";

const MORE = ["time", "model", "tokens", "perSecond", "firstToken", "ended"];

/** A conversation with what import needs to make it whole again. */
export function exportedForm({ title, created, time, system, messages }) {
  const more = messages.map((message) => ({
    ...Object.fromEntries(MORE.filter((name) => name in message).map((name) => [name, message[name]])),
    ...(versionCount(message) > 1 && { versions: versionsOf(message), version: message.version }),
  }));
  return { messages: inOpenAIForm(system, messages), tinylm: { title, created, time, messages: more } };
}

export function download(conversations) {
  const content = JSON.stringify(conversations.map(exportedForm), null, 2) + "\n";
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = `tinylm-${conversations.length === 1 ? "conversation" : "conversations"}-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Several replies to one message.
 *
 * A message shows one of them: its own fields are those of the shown one. `versions` holds all as {content, model, …}, the shown
 * one at `version`, which is brought up to date when another is shown.
 */

const FIELDS = ["content", "time", "model", "tokens", "promptTokens", "perSecond", "firstToken", "ended"];

const shownOf = (message) => Object.fromEntries(FIELDS.filter((name) => message[name] !== undefined).map((name) => [name, message[name]]));

/** All replies, the shown one up to date. */
export function versionsOf(message) {
  const all = [...(message.versions ?? [shownOf(message)])];
  all[message.version ?? 0] = shownOf(message);
  return all;
}

export const versionCount = (message) => message.versions?.length ?? 1;

/** Show another of the replies. */
export function showVersion(message, version) {
  const versions = versionsOf(message);
  if (!versions[version]) return;
  for (const name of FIELDS) delete message[name];
  Object.assign(message, versions[version], { versions, version });
}

/** A message that shows a new, still empty reply and has the earlier ones beside it. */
export function withNewVersion(earlier, reply) {
  if (!earlier) return reply;
  const versions = [...versionsOf(earlier), {}];
  return { ...reply, versions, version: versions.length - 1 };
}

/** The message without the shown reply; null where there is no other. */
export function withoutShown(message) {
  const versions = versionsOf(message).filter((_, index) => index !== (message.version ?? 0));
  if (!versions.length) return null;
  const version = Math.min(message.version, versions.length - 1);
  const left = { role: message.role, ...versions[version] };
  return versions.length > 1 ? { ...left, versions, version } : left;
}

/** Times as people say them. */

const DAY = 24 * 3600 * 1000;

const dayOf = (time) => new Date(time).setHours(0, 0, 0, 0);

/** Whole days since: 0 is today, whatever the hour and the change of clocks. */
const daysAgo = (time, now) => Math.round((dayOf(now) - dayOf(time)) / DAY);

export const clockTime = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** The part of the list that a time belongs to. */
export function ageOf(time, now = Date.now()) {
  const days = daysAgo(time, now);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return "Last 7 days";
  if (days < 30) return "Last 30 days";
  return new Date(time).toLocaleDateString([], { month: "long", year: "numeric" });
}

/** Day and hour, as short as they can be. */
export function momentOf(time, now = Date.now()) {
  const days = daysAgo(time, now);
  if (days <= 0) return clockTime(time);
  const date = new Date(time);
  const year = date.getFullYear() === new Date(now).getFullYear() ? {} : { year: "numeric" };
  return `${date.toLocaleDateString([], { day: "numeric", month: "short", ...year })}, ${clockTime(time)}`;
}

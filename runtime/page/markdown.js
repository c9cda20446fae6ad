/**
 * Markdown as elements: paragraphs, headings, lists, quotes, code, bold, italic, struck out, links.
 *
 * Text becomes text nodes and never HTML. A link is made for http and https only, and opens by a click in another tab. What is not
 * understood stays as it was written. The time it takes grows with the length of the text: nesting has an end, and what was
 * looked for in vain is not looked for again.
 */

import { button, make } from "./dom.js";

const DEEPEST = 6;
const FENCE = /^ {0,3}(`{3,20}|~{3,20})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(\S.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|(\d{1,9})[.)])(?: +(?=\S)|$)/;
const LINK = /\[([^[\]]{1,500})\]\(<?(https?:\/\/[^\s<>()]{1,2000}(?:\([^\s<>()]{0,500}\)[^\s<>()]{0,500}){0,5})>?(?: +"[^"]{0,500}")?\)/iy;
const ADDRESS = /https?:\/\/[^\s<>"'`*[\]()]{1,2000}/iy;
const SPECIAL = /[\\`*_~[]|https?:\/\//gi;
const ELEMENTS = { "*": ["em"], _: ["em"], "**": ["strong"], __: ["strong"], "***": ["strong", "em"], ___: ["strong", "em"], "~~": ["s"] };

const rendered = new WeakMap(); // container -> [{source, node}]

/** Show a text in an element. Called again with more of it, it leaves what has not changed as it is. */
export function showMarkdown(container, text, copyCode) {
  const before = rendered.get(container) ?? [];
  const blocks = blocksOf(text.split("\n"), 0);
  let same = 0;
  while (same < blocks.length && before[same]?.source === blocks[same].source) same++;
  for (const { node } of before.slice(same)) node.remove();
  const fresh = blocks.slice(same).map((block) => ({ source: block.source, node: elementOf(block, 0, copyCode) }));
  container.append(...fresh.map(({ node }) => node));
  rendered.set(container, [...before.slice(0, same), ...fresh]);
}

// ---- Blocks

/** Parts of a text that stand one below the other: {kind, source} and what the kind has. */
function blocksOf(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at++;
      continue;
    }
    const [block, next] = depth > DEEPEST ? [paragraphOf(lines.slice(at)), lines.length] : blockAt(lines, at);
    blocks.push({ ...block, source: block.kind + "\n" + lines.slice(at, next).join("\n") });
    at = next;
  }
  return blocks;
}

function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return codeAt(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (QUOTE.test(line)) {
    const next = endOf(lines, at, (other) => QUOTE.test(other));
    return [{ kind: "quote", lines: lines.slice(at, next).map((each) => each.replace(QUOTE, "")) }, next];
  }
  if (ITEM.test(line)) return listAt(lines, at);
  const next = endOf(lines, at + 1, (other) => other.trim() && !beginsBlock(other));
  return [paragraphOf(lines.slice(at, next)), next];
}

const paragraphOf = (lines) => ({ kind: "paragraph", text: lines.join("\n").trim() });

function endOf(lines, at, belongs) {
  while (at < lines.length && belongs(lines[at])) at++;
  return at;
}

/** Whether a line ends a paragraph. A number does so only as the first of a list: years end sentences, too. */
function beginsBlock(line) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  return Boolean(item) && item[0].length < line.length && (item[3] === undefined || Number(item[3]) === 1);
}

function codeAt(lines, at, [, mark, language]) {
  const ends = (line) => {
    const text = line.trim();
    return text.length >= mark.length && text === mark[0].repeat(text.length);
  };
  const end = endOf(lines, at + 1, (line) => !ends(line));
  return [{ kind: "code", language: language.trim().split(/\s/)[0], text: lines.slice(at + 1, end).join("\n") }, Math.min(end + 1, lines.length)];
}

/** A list: items of one kind, each with the lines that are indented below it or go on right after it. */
function listAt(lines, at) {
  const [, indent, , number] = ITEM.exec(lines[at]);
  const ordered = number !== undefined;
  const items = [];
  let next = at;
  while (next < lines.length) {
    const line = lines[next];
    const item = ITEM.exec(line);
    const isItem = item && item[1].length <= indent.length + 1 && !RULE.test(line);
    const depth = line.length - line.trimStart().length;
    if (isItem && (item[3] !== undefined) === ordered) items.push([line.slice(item[0].length)]);
    else if (!line.trim()) {
      const after = endOf(lines, next, (other) => !other.trim());
      const goesOn = after < lines.length && (/^ {2}/.test(lines[after].slice(indent.length)) || sameKind(lines[after], indent, ordered));
      if (!goesOn) break;
      items.at(-1).push(...lines.slice(next, after).map(() => ""));
      next = after;
      continue;
    } else if (depth >= indent.length + 2) items.at(-1).push(line.slice(Math.min(depth, indent.length + (ordered ? 3 : 2))));
    else if (isItem || beginsBlock(line) || !lines[next - 1].trim()) break;
    else items.at(-1).push(line.trim());
    next++;
  }
  return [{ kind: "list", ordered, start: Number(number ?? 1), items }, next];
}

function sameKind(line, indent, ordered) {
  const item = ITEM.exec(line);
  return item && item[1].length <= indent.length + 1 && (item[3] !== undefined) === ordered && !RULE.test(line);
}

// ---- Elements

function elementOf(block, depth, copyCode) {
  if (block.kind === "code") return codeElement(block, copyCode);
  if (block.kind === "rule") return make("hr");
  if (block.kind === "quote") {
    const quote = make("blockquote");
    quote.append(...blocksOf(block.lines, depth + 1).map((inner) => elementOf(inner, depth + 1, copyCode)));
    return inOwnDirection(quote);
  }
  if (block.kind === "list") return listElement(block, depth, copyCode);
  // Of one level: the headings of a reply are not those of the page
  const made = make(block.kind === "heading" ? "h3" : "p", block.kind === "heading" && block.level > 2 ? "lower" : "");
  appendInline(made, block.text, 0);
  return inOwnDirection(made);
}

/** As its text is written, from the left or from the right. Set last: browsers look for it anew with each child. */
function inOwnDirection(made) {
  made.dir = "auto";
  return made;
}

function listElement({ ordered, start, items }, depth, copyCode) {
  const list = make(ordered ? "ol" : "ul");
  if (ordered && start !== 1) list.start = start;
  for (const lines of items) {
    const item = make("li");
    const blocks = blocksOf(lines, depth + 1);
    blocks.forEach((block, index) => {
      if (index === 0 && block.kind === "paragraph") appendInline(item, block.text, 0);
      else item.append(elementOf(block, depth + 1, copyCode));
    });
    list.append(inOwnDirection(item));
  }
  return list;
}

function codeElement({ language, text }, copyCode) {
  const figure = make("div", "code");
  const head = make("div", "code-head");
  head.append(make("span", "", language), button("small", "Copy code", "copy", ({ currentTarget }) => copyCode(text, currentTarget)));
  const pre = make("pre");
  pre.dir = "ltr";
  pre.append(make("code", "", text));
  figure.append(head, pre);
  return figure;
}

// ---- Inside a line

const isSpace = (character) => character === undefined || /\s/.test(character);
const isWord = (character) => character !== undefined && /[\p{L}\p{N}_]/u.test(character);

/** Append a text with its marks. `inLink`: no link inside a link. */
function appendInline(parent, text, depth, inLink = false) {
  const special = new RegExp(SPECIAL);
  const missing = new Set(); // marks that do not come again
  let plain = "";
  let at = 0;
  const put = (node) => {
    if (plain) parent.append(plain);
    plain = "";
    if (node) parent.append(node);
  };
  while (at < text.length) {
    special.lastIndex = at;
    const found = depth > DEEPEST ? null : special.exec(text);
    plain += text.slice(at, found?.index ?? text.length);
    if (!found) break;
    at = found.index;
    const [node, next] = spanAt(text, at, found[0], { missing, depth, inLink });
    if (node) put(node);
    else plain += next > at + 1 && text[at] === "\\" ? text.slice(at + 1, next) : text.slice(at, next);
    at = next;
  }
  put(null);
}

/** The element at a special character and where it ends; or null and how much of it is text. */
function spanAt(text, at, found, { missing, depth, inLink }) {
  if (found === "\\") return [null, at + (/[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? 2 : 1)];
  if (found === "`") return codeSpanAt(text, at, missing);
  if (found === "[" || found.length > 1) return linkAt(text, at, found, depth, inLink);
  const run = runOf(text, at);
  const mark = found.repeat(Math.min(run, 3));
  const opens = ELEMENTS[mark] && run <= 3 && !isSpace(text[at + run]) && !(found === "_" && isWord(text[at - 1]));
  const end = opens && !missing.has(mark) ? closing(text, at + run, mark) : -1;
  if (end < 0) {
    if (opens) missing.add(mark);
    return [null, at + run];
  }
  const made = ELEMENTS[mark].map((tag) => make(tag));
  made.reduce((outer, inner) => (outer.append(inner), inner));
  appendInline(made.at(-1), text.slice(at + run, end), depth + 1, inLink);
  return [made[0], end + mark.length];
}

/** Where a mark closes: a run of it as long, after something else than a space. */
function closing(text, from, mark) {
  let at = text.indexOf(mark, from);
  while (at >= 0) {
    const run = runOf(text, at);
    if (run === mark.length && !isSpace(text[at - 1]) && !(mark[0] === "_" && isWord(text[at + run]))) return at;
    at = text.indexOf(mark, at + run);
  }
  return -1;
}

function runOf(text, at) {
  let end = at;
  while (text[end] === text[at]) end++;
  return end - at;
}

function codeSpanAt(text, at, missing) {
  const run = runOf(text, at);
  let end = missing.has("`" + run) ? -1 : text.indexOf("`", at + run);
  while (end >= 0 && runOf(text, end) !== run) end = text.indexOf("`", end + runOf(text, end));
  if (end < 0) {
    missing.add("`" + run);
    return [null, at + run];
  }
  const inner = text.slice(at + run, end);
  return [make("code", "", /^ .*[^ ].* $/s.test(inner) ? inner.slice(1, -1) : inner), end + run];
}

function linkAt(text, at, found, depth, inLink) {
  const form = found === "[" ? LINK : ADDRESS;
  form.lastIndex = at;
  const match = inLink || isWord(text[at - 1]) && found !== "[" ? null : form.exec(text);
  // A sentence's own signs are no part of an address
  const address = match && (found === "[" ? match[2] : match[0].replace(/[.,;:!?]{1,20}$/, ""));
  const target = address && URL.canParse(address) ? new URL(address) : null;
  if (!target || !["http:", "https:"].includes(target.protocol)) return [null, at + found.length];
  const link = make("a");
  Object.assign(link, { href: target.href, target: "_blank", rel: "noopener noreferrer nofollow", title: target.href });
  if (found === "[") appendInline(link, match[1], depth + 1, true);
  else link.textContent = address;
  return [link, at + (found === "[" ? match[0].length : address.length)];
}

/** The tokenizer of `tinylm/tokenizer/` in JavaScript: SentencePiece BPE, read from `tokenizer.model`. */

import { splitIntoPieces } from "./bpe.js";
import { fieldsOf } from "./protobuf.js";

const NORMAL = 1;
const CONTROL = 3;
const BYTE = 6;
const UNKNOWN = 2;
const BPE = 2;
const SPACE = "\u2581";
// SentencePiece's own marks, which are encoded as bytes outside of it
const AS_BYTES = /([\u2581\0]+)/u;
const SURROGATES = /\p{Surrogate}/gu;

const utf8 = new TextEncoder();

/** Text to token ids and back. */
export class Tokenizer {
  #ids = new Map();
  #scores = new Map();
  #bytes = [];
  #byteIds = new Array(256);
  #longestPiece;

  /**
   * @param {Uint8Array} model the bytes of `tokenizer.model`.
   * @throws {Error} it is no SentencePiece model, or not one as TinyLM trains them.
   */
  constructor(model) {
    const { pieces, trainer, normalizer } = readModel(model);
    const [charsmap, dummyPrefix, removesSpaces] = [2, 3, 4].map((field) => normalizer.get(field));
    if (trainer.get(3) !== BPE || !trainer.get(35) || charsmap?.length || dummyPrefix !== 0 || removesSpaces !== 0) {
      throw new Error("the tokenizer is none that TinyLM trains: a page cannot use it");
    }
    /** Number of ids. */
    this.vocabSize = pieces.length;
    const controls = new Map();
    for (const [id, { text, score, type }] of pieces.entries()) {
      if (type === CONTROL) {
        controls.set(text, id);
      } else if (type === UNKNOWN) {
        this.unkId = id;
      } else if (type === BYTE) {
        const byte = parseInt(text.slice(3, 5), 16);
        this.#byteIds[byte] = id;
        this.#bytes[id] = Uint8Array.of(byte);
      } else if (type === NORMAL) {
        this.#ids.set(text, id);
        this.#scores.set(text, score);
        this.#bytes[id] = utf8.encode(text.replaceAll(SPACE, " "));
      } else {
        throw new Error(`the tokenizer has a piece of type ${type}: a page cannot use it`);
      }
    }
    this.bosId = controls.get("<bos>");
    this.eosId = controls.get("<eos>");
    /** The id of each role's symbol. */
    this.roleIds = Object.fromEntries(["system", "user", "assistant"].map((role) => [role, controls.get(`<${role}>`)]));
    /** Ids that are never sampled: every control symbol but `<eos>`, and `<unk>`. */
    this.neverSampled = [this.unkId, this.bosId, ...Object.values(this.roleIds)];
    if ([...this.neverSampled, this.eosId, ...this.#byteIds].includes(undefined)) {
      throw new Error("the tokenizer has no control symbols or no byte pieces");
    }
    this.#longestPiece = pieces.reduce((longest, { text }) => Math.max(longest, Array.from(text).length), 1);
  }

  /**
   * Encode plain text, never as a control symbol. Lone surrogates become U+FFFD.
   *
   * @param {string} text
   * @returns {number[]} token ids.
   */
  encode(text) {
    const ids = [];
    text.replace(SURROGATES, "\ufffd").split(AS_BYTES).forEach((part, number) => {
      if (number % 2) this.#addBytes(part, ids);
      else this.#addText(part, ids);
    });
    return ids;
  }

  /** The UTF-8 bytes of an id; none for a control symbol. */
  bytesOf(id) {
    return this.#bytes[id] ?? new Uint8Array();
  }

  /** Decode token ids. Bytes that are not UTF-8 become U+FFFD. */
  decode(ids) {
    const decoder = new StreamDecoder(this);
    return ids.map((id) => decoder.feed(id)).join("") + decoder.finish();
  }

  /** A lower bound of the number of tokens of a text, without tokenizing it. */
  leastTokens(text) {
    let characters = 0;
    for (const _ of text) characters += 1;
    return Math.ceil(characters / this.#longestPiece);
  }

  #addText(text, ids) {
    // No token reaches over a line end
    for (const line of text.replaceAll(" ", SPACE).split(/(?<=\n)/u)) {
      for (const piece of splitIntoPieces(line, this.#scores)) {
        const id = this.#ids.get(piece);
        if (id === undefined) this.#addBytes(piece, ids);
        else ids.push(id);
      }
    }
  }

  #addBytes(text, ids) {
    for (const byte of utf8.encode(text)) ids.push(this.#byteIds[byte]);
  }
}

/** Decodes token ids one by one into whole characters; the joined pieces equal the decoded whole. */
export class StreamDecoder {
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #tokenizer;

  constructor(tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that is final with this id; bytes of an incomplete character are held back. */
  feed(id) {
    return this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true });
  }

  /** U+FFFD for an incomplete character at the end, else nothing. */
  finish() {
    return this.#decoder.decode();
  }
}

/** The pieces of a SentencePiece model, and the fields of its trainer's and its normalizer's options by number. */
function readModel(bytes) {
  const pieces = [];
  let trainer = new Map();
  let normalizer = new Map();
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === 1) {
      const piece = new Map(fieldsOf(value));
      const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(piece.get(1));
      pieces.push({ text, score: piece.get(2) ?? 0, type: piece.get(3) ?? NORMAL });
    } else if (field === 2) {
      trainer = new Map(fieldsOf(value));
    } else if (field === 3) {
      normalizer = new Map(fieldsOf(value));
    }
  }
  return { pieces, trainer, normalizer };
}

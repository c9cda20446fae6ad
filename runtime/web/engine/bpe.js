/** SentencePiece's byte-pair encoding: join the pair of neighbours with the highest score until no pair is a piece. */

/** A heap of pairs, the highest score first, and of equal scores the leftmost. */
class Pairs {
  #heap = [];

  get empty() {
    return this.#heap.length === 0;
  }

  push(pair) {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(pair, heap[parent])) break;
      heap[place] = heap[parent];
      place = parent;
    }
    heap[place] = pair;
  }

  pop() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child += 1;
      if (!before(heap[child], last)) break;
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

function before(one, other) {
  return one.score > other.score || (one.score === other.score && one.left < other.left);
}

/**
 * Split a text into pieces.
 *
 * @param {string} text with U+2581 for the space.
 * @param {Map<string, number>} scores of the pieces that neighbours can be joined to.
 * @returns {string[]} the pieces: those of the vocabulary, and single characters that are not in it.
 */
export function splitIntoPieces(text, scores) {
  const symbols = Array.from(text);
  const previous = symbols.map((_, place) => place - 1);
  const next = symbols.map((_, place) => place + 1);
  const pairs = new Pairs();
  const consider = (left, right) => {
    if (left < 0 || right >= symbols.length) return;
    const joined = symbols[left] + symbols[right];
    const score = scores.get(joined);
    if (score !== undefined) pairs.push({ left, right, score, joined });
  };
  for (let place = 1; place < symbols.length; place++) consider(place - 1, place);
  while (!pairs.empty) {
    const { left, right, joined } = pairs.pop();
    // One of them was joined to another neighbour meanwhile
    if (!symbols[left] || !symbols[right] || symbols[left].length + symbols[right].length !== joined.length) continue;
    symbols[left] = joined;
    symbols[right] = "";
    next[left] = next[right];
    if (next[right] < symbols.length) previous[next[right]] = left;
    consider(previous[left], left);
    consider(left, next[left]);
  }
  return symbols.filter(Boolean);
}

/** Python's `random.Random`, so that a seed gives the same replies in a browser as in `tinylm chat`. */

const SIZE = 624;
const SHIFT = 397;

/** The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), seeded as Python seeds it with an integer. */
export class Random {
  #state = new Uint32Array(SIZE);
  #place = SIZE;

  /** @param {number | bigint} seed an integer from 0 on. */
  constructor(seed) {
    const key = [];
    for (let rest = BigInt(seed); rest > 0n || key.length === 0; rest >>= 32n) key.push(Number(rest & 0xffffffffn));
    this.#fill(19650218);
    const state = this.#state;
    let place = 1;
    let from = 0;
    for (let step = Math.max(SIZE, key.length); step > 0; step--) {
      const before = state[place - 1];
      state[place] = (state[place] ^ Math.imul(before ^ (before >>> 30), 1664525)) + key[from] + from;
      place += 1;
      from = (from + 1) % key.length;
      if (place >= SIZE) place = this.#wrap();
    }
    for (let step = SIZE - 1; step > 0; step--) {
      const before = state[place - 1];
      state[place] = (state[place] ^ Math.imul(before ^ (before >>> 30), 1566083941)) - place;
      place += 1;
      if (place >= SIZE) place = this.#wrap();
    }
    state[0] = 0x80000000;
  }

  /** A number from 0 up to 1, with 53 random bits. */
  random() {
    const high = this.#next() >>> 5;
    const low = this.#next() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  #fill(seed) {
    const state = this.#state;
    state[0] = seed;
    for (let place = 1; place < SIZE; place++) {
      const before = state[place - 1];
      state[place] = Math.imul(before ^ (before >>> 30), 1812433253) + place;
    }
  }

  #wrap() {
    this.#state[0] = this.#state[SIZE - 1];
    return 1;
  }

  #next() {
    if (this.#place >= SIZE) this.#twist();
    let value = this.#state[this.#place++];
    value ^= value >>> 11;
    value ^= (value << 7) & 0x9d2c5680;
    value ^= (value << 15) & 0xefc60000;
    return (value ^ (value >>> 18)) >>> 0;
  }

  #twist() {
    const state = this.#state;
    for (let place = 0; place < SIZE; place++) {
      const mixed = (state[place] & 0x80000000) | (state[(place + 1) % SIZE] & 0x7fffffff);
      state[place] = state[(place + SHIFT) % SIZE] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.#place = 0;
  }
}

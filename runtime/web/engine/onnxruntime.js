/**
 * onnxruntime's WebAssembly, without onnxruntime-web's JavaScript around it.
 *
 * That copies each input into the WebAssembly's memory and each output out of it, at every call: for a KV cache that is
 * most of a token's time. Here tensors are placed in that memory once and bound as input and output. The functions are
 * those that onnxruntime-web itself calls, of the version that package.json pins.
 */

const LOG_ERRORS = 3;
const ALL_OPTIMIZATIONS = 99;
const SEQUENTIAL = 0;
const ON_CPU = 1;

/** Types of tensors, as ONNX numbers them. */
export const FLOAT = 1;
export const INT64 = 7;
const BYTES = { [FLOAT]: 4, [INT64]: 8 };

/** A tensor whose numbers lie in the WebAssembly's memory. */
class Tensor {
  constructor(handle, pointer, view) {
    this.handle = handle;
    this.pointer = pointer;
    /** The numbers: a Float32Array or a BigInt64Array on the WebAssembly's memory. */
    this.view = view;
  }
}

/** onnxruntime in WebAssembly, on one thread. */
export class OnnxRuntime {
  #wasm;
  #names = new Map();
  #runOptions;

  constructor(wasm) {
    this.#wasm = wasm;
    this.#check(wasm._OrtInit(1, LOG_ERRORS), "cannot start onnxruntime");
    this.#runOptions = wasm._OrtCreateRunOptions(LOG_ERRORS, 0, false, 0);
  }

  /**
   * @param {(options: object) => Promise<object>} factory the default export of onnxruntime-web's `ort-wasm-….mjs`.
   * @param {Uint8Array} wasmBinary the bytes of `ort-wasm-….wasm`.
   */
  static async create(factory, wasmBinary, options = {}) {
    return new OnnxRuntime(await factory({ wasmBinary, numThreads: 1, locateFile: (name) => name, ...options }));
  }

  /** Bytes of the WebAssembly's memory. */
  get memoryBytes() {
    return this.#wasm.HEAPU8.byteLength;
  }

  /**
   * Load a graph.
   *
   * @param {Uint8Array} graph the bytes of an ONNX file.
   * @param {Record<string, Uint8Array>} external files that the graph's weights lie in.
   * @param {boolean} profile print a line of JSON for each node that was run, when `endProfiling` is called.
   * @returns {Promise<number>} the session's handle.
   */
  async load(graph, external = {}, profile = false) {
    const wasm = this.#wasm;
    const options = wasm._OrtCreateSessionOptions(
      ALL_OPTIMIZATIONS, true, false, SEQUENTIAL, profile, 0, 0, LOG_ERRORS, 0, 0,
    );
    if (!options) this.#fail("cannot make session options");
    const pointer = this.#allocate(graph.length);
    wasm.HEAPU8.set(graph, pointer);
    try {
      for (const [name, bytes] of Object.entries(external)) wasm.mountExternalData(name, bytes);
      const session = await wasm._OrtCreateSession(pointer, graph.length, options);
      if (!session) this.#fail("onnxruntime cannot load the model");
      return session;
    } finally {
      wasm.unmountExternalData();
      wasm._free(pointer);
      wasm._OrtReleaseSessionOptions(options);
    }
  }

  /** Print what `load` was told to profile. */
  endProfiling(session) {
    this.#wasm._OrtFree(this.#wasm._OrtEndProfiling(session));
  }

  /**
   * The inputs of a graph.
   *
   * @returns {Map<string, (number | string)[]>} by name their shapes; names stand for sizes that are free.
   */
  inputs(session) {
    const wasm = this.#wasm;
    const stack = wasm.stackSave();
    const [one, other] = [wasm.stackAlloc(4), wasm.stackAlloc(4)];
    const inputs = new Map();
    this.#check(wasm._OrtGetInputOutputCount(session, one, other), "cannot read the model's inputs");
    const count = wasm.getValue(one, "i32");
    for (let index = 0; index < count; index++) {
      this.#check(wasm._OrtGetInputOutputMetadata(session, index, one, other), "cannot read the model's inputs");
      const [name, facts] = [wasm.getValue(one, "*"), wasm.getValue(other, "*")];
      const rank = wasm.getValue(facts + 4, "i32");
      const shape = Array.from({ length: rank }, (_, axis) => {
        const symbol = wasm.getValue(facts + 8 + 4 * axis, "*");
        return symbol ? wasm.UTF8ToString(symbol) : wasm.getValue(facts + 8 + 4 * (rank + axis), "*");
      });
      inputs.set(wasm.UTF8ToString(name), shape);
      wasm._OrtFree(name);
      wasm._OrtFree(facts);
    }
    wasm.stackRestore(stack);
    return inputs;
  }

  /**
   * Place a tensor of zeros in the WebAssembly's memory.
   *
   * @param {FLOAT | INT64} type
   * @param {number[]} shape
   */
  tensor(type, shape) {
    const bytes = shape.reduce((product, size) => product * size, BYTES[type]);
    const pointer = this.#allocate(bytes);
    this.#wasm.HEAPU8.fill(0, pointer, pointer + bytes);
    return this.part({ pointer }, type, shape);
  }

  /** A tensor on the first numbers of another one, in the same memory. */
  part({ pointer }, type, shape) {
    const wasm = this.#wasm;
    const count = shape.reduce((product, size) => product * size, 1);
    const stack = wasm.stackSave();
    const sizes = wasm.stackAlloc(4 * shape.length);
    shape.forEach((size, axis) => wasm.setValue(sizes + 4 * axis, size, "i32"));
    const handle = wasm._OrtCreateTensor(type, pointer, count * BYTES[type], sizes, shape.length, ON_CPU);
    wasm.stackRestore(stack);
    if (!handle) this.#fail("cannot make a tensor");
    const View = type === FLOAT ? Float32Array : BigInt64Array;
    return new Tensor(handle, pointer, new View(wasm.HEAPU8.buffer, pointer, count));
  }

  /** Forget a tensor that `part` gave; its memory stays. */
  release(tensor) {
    this.#wasm._OrtReleaseTensor(tensor.handle);
  }

  /**
   * Prepare calls of a graph with fixed tensors.
   *
   * @param {number} session its handle.
   * @param {[string, Tensor | undefined][]} inputs by name; those that are undefined are given at each call.
   * @param {[string, Tensor][]} outputs by name.
   * @returns {(...given: Tensor[]) => Promise<void>} runs the graph; takes the inputs that are undefined, in their order.
   */
  bind(session, inputs, outputs) {
    const wasm = this.#wasm;
    const pointers = (values) => {
      const pointer = this.#allocate(4 * values.length);
      values.forEach((value, index) => wasm.setValue(pointer + 4 * index, value, "*"));
      return pointer;
    };
    const inputNames = pointers(inputs.map(([name]) => this.#name(name)));
    const outputNames = pointers(outputs.map(([name]) => this.#name(name)));
    const inputValues = pointers(inputs.map(([, tensor]) => tensor?.handle ?? 0));
    const outputValues = pointers(outputs.map(([, tensor]) => tensor.handle));
    const free = inputs.flatMap(([, tensor], index) => (tensor ? [] : [inputValues + 4 * index]));
    return async (...given) => {
      free.forEach((pointer, index) => wasm.setValue(pointer, given[index].handle, "*"));
      const code = await wasm._OrtRun(
        session, inputNames, inputValues, inputs.length, outputNames, outputs.length, outputValues, this.#runOptions,
      );
      this.#check(code, "the model cannot be run");
    };
  }

  #name(text) {
    let pointer = this.#names.get(text);
    if (pointer === undefined) {
      const bytes = this.#wasm.lengthBytesUTF8(text) + 1;
      pointer = this.#allocate(bytes);
      this.#wasm.stringToUTF8(text, pointer, bytes);
      this.#names.set(text, pointer);
    }
    return pointer;
  }

  #allocate(bytes) {
    const pointer = this.#wasm._malloc(bytes);
    if (!pointer) throw new RangeError("this browser gives the page too little memory for the model");
    return pointer;
  }

  #check(code, what) {
    if (code !== 0) this.#fail(what);
  }

  #fail(what) {
    const wasm = this.#wasm;
    const stack = wasm.stackSave();
    const [code, message] = [wasm.stackAlloc(4), wasm.stackAlloc(4)];
    wasm._OrtGetLastError(code, message);
    const pointer = wasm.getValue(message, "*");
    const text = pointer ? wasm.UTF8ToString(pointer) : "";
    wasm.stackRestore(stack);
    throw new Error(text ? `${what}: ${text}` : what);
  }
}

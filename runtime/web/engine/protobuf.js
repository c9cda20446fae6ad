/** Read the wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/**
 * The fields of a message in their order.
 *
 * @param {Uint8Array} bytes a serialized message.
 * @yields {[number, number | Uint8Array]} a field's number and value: bytes of strings and messages, integers, floats.
 */
export function* fieldsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let place = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = view.getUint8(place++);
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const type = tag % 8;
    if (type === VARINT) {
      yield [field, varint()];
    } else if (type === BYTES) {
      const size = varint();
      yield [field, bytes.subarray(place, (place += size))];
    } else if (type === FIXED32) {
      yield [field, view.getFloat32(place, true)];
      place += 4;
    } else if (type === FIXED64) {
      yield [field, view.getFloat64(place, true)];
      place += 8;
    } else {
      throw new Error(`a protocol buffer with wire type ${type}`);
    }
  }
}

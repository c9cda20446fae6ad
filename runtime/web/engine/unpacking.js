/** Unpack the files that a page carries. */

/**
 * @param {string | Uint8Array} packed gzip, as bytes or as base64 text.
 * @returns {Promise<Uint8Array>} the unpacked bytes.
 */
export async function unpack(packed) {
  const bytes = typeof packed === "string" ? fromBase64(packed) : packed;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < bytes.length; place++) bytes[place] = binary.charCodeAt(place);
  return bytes;
}

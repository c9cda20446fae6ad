/** Reads ZIP archives, as far as programs export conversations in them. */

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LONGEST_END = 65_557; // with the longest comment that there can be

/** Whether a file begins as a ZIP archive does. */
export async function isArchive(file) {
  return (await file.slice(0, 4).text()) === "PK\u0003\u0004";
}

/** The texts of those files in an archive whose names match. Throws an Error that says what is wrong with it. */
export async function textsIn(file, pattern) {
  try {
    const texts = [];
    for (const entry of await entriesOf(file)) if (pattern.test(entry.name)) texts.push(await textOfEntry(file, entry));
    return texts;
  } catch (error) {
    throw new Error("it is a ZIP archive that cannot be read. Unpack it and import what is in it.", { cause: error });
  }
}

const viewOf = async (file, from, to) => new DataView(await file.slice(from, to).arrayBuffer());

/** What the directory at the archive's end says of each file. */
async function entriesOf(file) {
  const tail = await viewOf(file, Math.max(0, file.size - LONGEST_END));
  let end = tail.byteLength - 22;
  while (tail.getUint32(end, true) !== END) end--;
  const start = tail.getUint32(end + 16, true);
  const directory = await viewOf(file, start, start + tail.getUint32(end + 12, true));
  const entries = [];
  for (let at = 0; at < directory.byteLength; ) {
    if (directory.getUint32(at, true) !== ENTRY) throw new Error("no entry where one should be");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((place) => directory.getUint16(at + place, true));
    entries.push({
      method: directory.getUint16(at + 10, true),
      size: directory.getUint32(at + 20, true),
      offset: directory.getUint32(at + 42, true),
      name: new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, nameLength)),
    });
    at += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

async function textOfEntry(file, { method, size, offset }) {
  const head = await viewOf(file, offset, offset + 30);
  const begin = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = file.slice(begin, begin + size).stream();
  if (method !== 0 && method !== 8) throw new Error("packed in another way");
  return new Response(method === 8 ? packed.pipeThrough(new DecompressionStream("deflate-raw")) : packed).text();
}

/**
 * Build dist/ from the sources and from what `npm ci` has installed; see `make web`.
 *
 * Usage: node build.mjs NODE_MODULES PYTHON_ONNXRUNTIME
 */

import { readFile, rename, rm, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";

const [modules, pythonOnnxruntime] = process.argv.slice(2).map((argument) => path.resolve(argument));
const { build } = createRequire(path.join(modules, "esbuild"))("esbuild");
const here = import.meta.dirname;
const out = path.join(here, "dist");
const partial = path.join(here, "dist.partial");
const onnxruntime = path.join(modules, "onnxruntime-web");
const BINARY = "ort-wasm-simd-threaded";

/**
 * onnxruntime's loader for a worker that is no module: a page that was opened from a file cannot start another one. What
 * goes is for threads, and needs `await` at the top level.
 */
const loader = {
  name: "loader",
  setup({ onLoad }) {
    onLoad({ filter: new RegExp(`${BINARY}\\.mjs$`) }, async ({ path: file }) => {
      const [before, after] = (await readFile(file, "utf8")).split(/(?<=export default ortWasmThreaded;)/);
      if (!after?.includes("isPthread")) throw new Error(`${file}: not as expected`);
      return { contents: before };
    });
  },
};

/** A line for each package whose code is in dist/, and the texts of its licences. */
async function notices() {
  const { version } = JSON.parse(await readFile(path.join(onnxruntime, "package.json"), "utf8"));
  const texts = ["LICENSE", "ThirdPartyNotices.txt"].map((name) => readFile(path.join(pythonOnnxruntime, name), "utf8"));
  const [licence, thirdParties] = await Promise.all(texts);
  return `onnxruntime-web ${version}, https://onnxruntime.ai\n\n${licence}\n\n${thirdParties}`;
}

await rm(partial, { recursive: true, force: true });
await mkdir(partial);
await build({
  entryPoints: [path.join(here, "engine", "worker.js")],
  outfile: path.join(partial, "worker.js"),
  alias: { "onnxruntime-factory": path.join(onnxruntime, "dist", `${BINARY}.mjs`) },
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  define: { "import.meta.url": '"onnxruntime.mjs"' },
  plugins: [loader],
  target: ["chrome94", "firefox114", "safari16.4"],
  legalComments: "none",
  // Of Node alone
  external: ["module", "worker_threads"],
  logLevel: "warning",
});
const compress = promisify(gzip);
const wasm = await readFile(path.join(onnxruntime, "dist", `${BINARY}.wasm`));
await writeFile(path.join(partial, "onnxruntime.wasm.gz"), await compress(wasm, { level: constants.Z_BEST_COMPRESSION }));
await writeFile(path.join(partial, "NOTICES.txt.gz"), await compress(await notices(), { level: constants.Z_BEST_COMPRESSION }));
await rm(out, { recursive: true, force: true });
await rename(partial, out);

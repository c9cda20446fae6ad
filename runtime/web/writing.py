"""Write a bundle as a web page that works without a server: one HTML file, or a folder for any web host.

The page holds all that it needs as base64 text: onnxruntime's WebAssembly, the bundle's graphs, tokenizer, manifest and
model card, each packed with gzip. Its Content-Security-Policy allows no connection at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path

from tinylm.chat_format import CHAT_FORMAT_VERSION
from tinylm.errors import BundleError, TinyLMError
from tinylm.files import new_folder, write_file
from tinylm.manifest import (
    ANY_CPU,
    DECODE_FILES,
    MANIFEST_FILE,
    MODEL_FILE,
    README_FILE,
    Manifest,
    read_manifest,
    verify_files_once,
)
from tinylm.printable import printable
from tinylm.runtime.page.assembly import assemble_page

MOST_MODEL_BYTES = 256_000_000
"""The largest `model.onnx` that a page takes: loaded, it needs some four times as much of the browser's memory."""

_TOKENIZER_FILE = "tokenizer.model"
_DECODE_FILE = DECODE_FILES[ANY_CPU]
_INDEX, _SERVICE_WORKER, _WEB_MANIFEST = "index.html", "service-worker.js", "manifest.webmanifest"
_ICONS = ("icon-192.png", "icon-512.png")
_POLICY = {"script-src": "'wasm-unsafe-eval'", "worker-src": "blob:", "connect-src": "'none'"}
_FOLDER_POLICY = {**_POLICY, "worker-src": "blob: 'self'", "manifest-src": "'self'", "img-src": "data: 'self'"}
_LINKS = f'<link rel="manifest" href="{_WEB_MANIFEST}">\n<link rel="apple-touch-icon" href="{_ICONS[0]}">\n'


def is_file(out: Path) -> bool:
    """Whether a page goes into one file, by the name; otherwise into a folder."""
    return out.suffix.lower() in {".html", ".htm"}


def check_page(out: Path, overwrite: bool = False) -> None:
    """Check that a page can be made, and may be written there.

    Raises:
        TinyLMError: `make web` was not run, `out` exists, or is something else than a page.
    """
    _built("worker.js")
    if not out.exists() or (out.is_dir() and not any(out.iterdir()) and not is_file(out)):
        return
    shown = printable(out)
    if out.is_dir() == is_file(out) or (out.is_dir() and not (out / _SERVICE_WORKER).is_file()):
        raise TinyLMError(f"{shown}: exists and is no page, so it is not replaced; give another --web")
    if not overwrite:
        raise TinyLMError(f"{shown}: exists already; give another --web, or --overwrite to replace it")


def write_page(bundle: str | PathLike[str], out: Path, *, name: str = "", overwrite: bool = False) -> dict[str, int]:
    """Write the chat page with a bundle in it. It is there complete or not at all.

    Args:
        bundle: the bundle's folder.
        out: a file `.html`, or a folder, to be made.
        name: of the model, as the page shows it; by default that of the file or folder.
        overwrite: replace an existing page.

    Returns:
        the page's bytes by part: onnxruntime, model, tokenizer, card, page.

    Raises:
        BundleError: the bundle is not whole, too large, or of a kind that the page cannot run.
        TinyLMError: see `check_page`; or the page cannot be written.
    """
    folder = Path(bundle)
    check_page(out, overwrite)
    manifest = read_manifest(folder)
    _check_bundle(folder, manifest)
    verify_files_once(folder, manifest)
    packed = {file: _base64(content) for file, content in _files(folder, manifest).items()}
    name = name or printable(out.stem if is_file(out) else out.resolve().name)
    page = _page(name, packed, _POLICY if is_file(out) else _FOLDER_POLICY)
    if is_file(out):
        write_file(out, page)
    else:
        with new_folder(out) as made:
            _fill(made, name, page)
    return _sizes(packed, page)


def _check_bundle(folder: Path, manifest: Manifest) -> None:
    shown, size = printable(folder), manifest.files[MODEL_FILE].size
    if not manifest.chat:
        raise BundleError(f"{shown}: was never fine-tuned, and a page is for chats; train with --finetune")
    if _TOKENIZER_FILE not in manifest.files or manifest.chat_format_version != CHAT_FORMAT_VERSION:
        raise BundleError(
            f"{shown}: has an imported model's tokenizer, which a page cannot run yet; use `tinylm serve`"
        )
    if size > MOST_MODEL_BYTES:
        smaller = {"fp32": "export it with --quantize", "int8": "export it with --quantize --bits 4"}
        way_out = smaller.get(manifest.graph.precision, "train a smaller one")
        raise BundleError(
            f"{shown}: its model of {size / 1e6:,.0f} MB is too large for a browser tab, which takes at most "
            f"{MOST_MODEL_BYTES / 1e6:,.0f} MB (some {MOST_MODEL_BYTES // 1_000_000:,} million parameters in int8): "
            f"{way_out}, or use `tinylm serve`"
        )
    if manifest.graph.contrib_operators == []:
        raise BundleError(f"{shown}: was exported with --portable, which a page cannot run; export it without")


def _files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """What the page unpacks: contents by the names that the engine knows."""
    names = [MANIFEST_FILE, _TOKENIZER_FILE, MODEL_FILE]
    if _DECODE_FILE in manifest.files:
        names.append(_DECODE_FILE)
    if (folder / README_FILE).is_file():
        names.append(README_FILE)
    contents = {name: gzip.compress((folder / name).read_bytes(), mtime=0) for name in names}
    return {"onnxruntime.wasm": _built("onnxruntime.wasm.gz"), "NOTICES.txt": _built("NOTICES.txt.gz"), **contents}


def _page(name: str, packed: Mapping[str, str], policy: Mapping[str, str]) -> str:
    model = json.dumps({"name": name, "files": list(packed)}, ensure_ascii=False).replace("<", "\\u003c")
    data = {"web-model": model, "web-engine": _base64(_built("worker.js"))}
    data |= {f"web-file-{number}": text for number, text in enumerate(packed.values())}
    page = assemble_page("backend_local.js", data, policy)
    return page.replace("<style>", _LINKS + "<style>", 1) if policy is _FOLDER_POLICY else page


def _fill(folder: Path, name: str, page: str) -> None:
    """Write the files of a folder that a web host serves."""
    assets = files(__package__).joinpath("hosted")
    (folder / _INDEX).write_text(page, "utf-8", newline="\n")
    for icon in _ICONS:
        (folder / icon).write_bytes(assets.joinpath(icon).read_bytes())
    web_manifest = json.loads(assets.joinpath(_WEB_MANIFEST).read_text("utf-8"))
    (folder / _WEB_MANIFEST).write_text(json.dumps({"name": name, **web_manifest}, indent=1) + "\n", "utf-8")
    version = hashlib.sha256(page.encode()).hexdigest()[:16]
    worker = assets.joinpath(_SERVICE_WORKER).read_text("utf-8").replace("VERSION", version, 1)
    (folder / _SERVICE_WORKER).write_text(worker, "utf-8", newline="\n")


def _sizes(packed: Mapping[str, str], page: str) -> dict[str, int]:
    parts = {
        "onnxruntime": ("onnxruntime.wasm", "NOTICES.txt"),
        "model": (MODEL_FILE, _DECODE_FILE),
        "tokenizer": (_TOKENIZER_FILE,),
        "card": (MANIFEST_FILE, README_FILE),
    }
    sizes = {part: sum(len(packed.get(name, "")) for name in names) for part, names in parts.items()}
    return {**sizes, "page": len(page.encode()) - sum(sizes.values())}


def _built(name: str) -> bytes:
    """A file that `make web` builds."""
    try:
        return files(__package__).joinpath("dist", name).read_bytes()
    except OSError:
        raise TinyLMError("the browser's part of TinyLM is not built here: run `make web` in the repository") from None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")

"""Private copies of a bundle's graphs, for programs that run for long."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from tinylm.errors import BundleError
from tinylm.manifest import DATA_SUFFIX, MODEL_FILE, Manifest
from tinylm.user_cache import cache_folder

log = logging.getLogger("tinylm.serve")

_BLOCK = 1 << 20


@contextmanager
def private_copy(bundle: Path, manifest: Manifest, graphs: Set[str]) -> Iterator[Path]:
    """A folder with a bundle's graphs to load, which is deleted at the end.

    onnxruntime maps the file from which another one takes its weights. Overwriting a mapped file
    changes the weights in use, or ends the process. The copy is loaded and deleted: what is mapped stays as it is.

    Args:
        bundle: the folder.
        manifest: of it.
        graphs: the files that are loaded; `model.onnx` alone is not mapped, and not copied, if it holds its weights.

    Raises:
        BundleError: a file is not the one of the manifest, or cannot be read.
    """
    needed = [file for file in manifest.files if file in graphs or file in (MODEL_FILE, MODEL_FILE + DATA_SUFFIX)]
    folder = None if needed == [MODEL_FILE] else _temporary_folder(manifest)
    if folder is None:
        yield bundle
        return
    with folder as name:
        for file in needed:
            _copy(bundle / file, Path(name) / file, manifest.files[file].sha256)
        yield Path(name)


def _temporary_folder(manifest: Manifest) -> tempfile.TemporaryDirectory[str] | None:
    """A new folder with room for the graphs: in TinyLM's cache, or else where the system has temporary files."""
    needed = sum(entry.size for entry in manifest.files.values())
    places: list[Path | None] = [None]
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        places.insert(0, cache_folder())
    except (OSError, RuntimeError):
        pass
    for place in places:
        try:
            if shutil.disk_usage(place or tempfile.gettempdir()).free > 2 * needed:
                # On Windows what is mapped cannot be deleted
                return tempfile.TemporaryDirectory(prefix="bundle-", dir=place, ignore_cleanup_errors=True)
        except OSError:
            continue
    log.warning("No temporary folder can be written: do not overwrite the bundle's files meanwhile.")
    return None


def _copy(source: Path, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while block := read.read(_BLOCK):
                digest.update(block)
                written.write(block)
    except OSError as error:
        raise BundleError(f"{source}: cannot be copied for loading ({error.strerror})") from None
    if digest.hexdigest() != sha256:
        raise BundleError(f"{source}: changed since it was written (SHA-256 differs); copy the bundle again")

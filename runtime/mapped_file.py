"""Notice that a file was overwritten while a model's weights are mapped from it."""

from __future__ import annotations

import os
from pathlib import Path

from tinylm.errors import BundleError


class MappedFile:
    """A file whose content must stay as it is.

    A file that is replaced by another, as by renaming, is none of these: what is mapped stays as it is.

    Args:
        path: the file, before it is mapped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.stat()

    def check(self) -> None:
        """Make sure that it was not overwritten; takes about a microsecond.

        Raises:
            BundleError: it was.
        """
        before = self._before
        try:
            now = self._path.stat()
        except OSError:  # removed or renamed
            return
        if os.path.samestat(before, now) and (before.st_mtime_ns, before.st_size) != (now.st_mtime_ns, now.st_size):
            raise BundleError(
                f"{self._path}: was overwritten while the model was in use: start again, and replace a bundle by "
                "renaming its folder"
            )

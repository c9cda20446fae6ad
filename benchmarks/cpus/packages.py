"""What another CPU's Python is made of: Debian's aarch64 packages, PyPI's aarch64 wheels and TinyLM's own runtime.

Nothing here needs root's rights, and nothing is installed on the machine: packages are unpacked into folders.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path

import tinylm
import tinylm.runtime
from tinylm.errors import TinyLMError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR, SUITE = "https://deb.debian.org/debian", "bookworm"
_DEBIAN_PACKAGES = ("python3", "libgomp1", "libstdc++6")
# From the oldest that PyPI's wheels name to Debian bookworm's own
_GLIBC_MINORS = range(17, 37)


def copy_package(target: Path) -> None:
    """The part of TinyLM that a device has, as it is here: `tinylm` with its tokenizers, and `tinylm.runtime`."""
    assert tinylm.__file__ is not None
    assert tinylm.runtime.__file__ is not None

    def rooms(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(folder) / name).is_dir() and name != "tokenizer"]

    shutil.copytree(Path(tinylm.__file__).parent, target / "tinylm", ignore=rooms)
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(tinylm.runtime.__file__).parent, target / "tinylm" / "runtime", ignore=without)


def runtime_pins() -> list[str]:
    """What TinyLM needs on a device, in the versions that this Python has."""
    needed = [line for line in requires("tinylm") or [] if "extra ==" not in line]
    names = [match[0] for line in needed if (match := re.match(r"[\w.-]+", line))]
    return [f"{name}=={version(name)}" for name in sorted(names)]


def install_wheels(folder: Path, python: str, pins: Sequence[str]) -> None:
    """Unpack aarch64 wheels for a Python, as pip finds them with the machine's own settings.

    Raises:
        TinyLMError: pip's reason.
    """
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in _GLIBC_MINORS)]
    platforms = [part for tag in tags for part in ("--platform", tag)]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", "--no-compile", "--upgrade"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", f"--target={folder}", *options, *platforms, *pins]
    call(command, "ERROR:", "set pip's usual variables, such as PIP_INDEX_URL, for where wheels are found")


def unpack_debian(folder: Path, mirror: str, suite: str) -> None:
    """Unpack Debian's Python for aarch64, with all that it depends on, without installing it.

    Raises:
        TinyLMError: apt's reason.
    """
    if not KEYRING.is_file():
        raise TinyLMError(f"{KEYRING} not found: `apt-get install debian-archive-keyring`")
    hint = "give --mirror URL and --suite NAME"
    with private_apt(mirror, suite) as (options, archives):
        call(["apt-get", *options, "update"], "E:", hint)
        install = ["install", "--yes", "--download-only", "--no-install-recommends", *_DEBIAN_PACKAGES]
        call(["apt-get", *options, *install], "E:", hint)
        for package in sorted(archives.glob("*.deb")):
            call(["dpkg-deb", "--extract", str(package), str(folder)], "dpkg-deb:", "is the disk full?")
    # Where a release keeps everything under /usr, its base-files package would make this link
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")


@contextmanager
def private_apt(mirror: str, suite: str) -> Iterator[tuple[list[str], Path]]:
    """An apt apart from the machine's own: options for apt-get, and the folder into which it fetches."""
    with tempfile.TemporaryDirectory(prefix="tinylm-apt-") as name:
        folder = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "sources.d"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [arch=arm64 signed-by={KEYRING}] {mirror} {suite} main\n")
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Dir::Cache::archives": folder / "cache" / "archives",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": folder / "sources.d",
        }
        yield [f"--option={key}={value}" for key, value in settings.items()], folder / "cache" / "archives"


def debian_source() -> tuple[str, str]:
    """Mirror and release of the machine's own apt sources where it is Debian, else Debian's own mirror."""
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        facts = {}
    suite = facts.get("VERSION_CODENAME", "")
    if facts.get("ID") != "debian" or not suite:
        return MIRROR, SUITE
    command = ["apt-get", "indextargets", "--format=$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    sources = (line.split() for line in listing.splitlines())
    return next((uri for uri, *rest in sources if rest == [suite, "main"]), MIRROR), suite


def python_version(root: Path) -> str:
    """Of the root's Python: 3.11, say."""
    return (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


def call(command: Sequence[str], mark: str, hint: str) -> None:
    """Run a program quietly; where it fails, its first line with a mark is the reason."""
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith(mark)), lines[-1] if lines else "no reason given")
        raise TinyLMError(f"{Path(command[0]).name} failed ({reason.strip()}); {hint}")

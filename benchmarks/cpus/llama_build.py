"""llama.cpp for Arm cores: its sources from PyPI, cross-compiled with the loop in `llama_loop`, for each kind of core.

Nothing of llama.cpp is part of this repository; what is fetched and built stays in the cache.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cpus.packages import call
from tinylm.errors import TinyLMError
from tinylm.files import new_folder
from tinylm.processors import usable_threads

VERSION = "0.3.36"
"""Of llama-cpp-python, whose source package holds llama.cpp's."""

LOOP = Path(__file__).parent / "llama_loop"
_COMPILER = "aarch64-linux-gnu-g++"
_TOOLS = {_COMPILER: "g++-aarch64-linux-gnu", "cmake": "cmake", "ninja": "ninja-build"}
_INSIDE = "/vendor/llama.cpp/"


def check_tools() -> None:
    """Make sure that llama.cpp can be compiled here.

    Raises:
        TinyLMError: says what is missing and how to get it.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(_TOOLS[tool] for tool in missing)
        raise TinyLMError(f"{', '.join(missing)} not found: on Debian or Ubuntu, `apt-get install {packages}`")


def build_loops(wanted: str, marches: Iterable[str], cache: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Fetch llama.cpp unless it is there, and build the loop.

    Args:
        wanted: a version of llama-cpp-python, or a folder with llama.cpp's sources.
        marches: architectures, as gcc's `-march` names them.
        cache: where all of it is kept.
        say: told what goes on.

    Returns:
        the programs by architecture; each takes the best code of its own.

    Raises:
        TinyLMError: it cannot be fetched or compiled.
    """
    check_tools()
    source = _source(wanted, cache, say)
    build = cache / f"llama-loop-{sha256(str(source.resolve()).encode()).hexdigest()[:12]}"
    programs = {}
    for march in marches:
        programs[march] = build / f"loop-{march}"
        if source.is_relative_to(cache) and _is_fresh(programs[march]):
            continue
        say(f"compiling llama.cpp for {march}: some ten minutes the first time")
        # All but ggml's kernels is the same for every architecture, and is compiled once
        _build(source, build, march)
        shutil.copy2(build / "llama_loop", programs[march])
    return programs


def _is_fresh(program: Path) -> bool:
    parts = [path.stat().st_mtime for path in LOOP.iterdir()]
    return program.is_file() and program.stat().st_mtime > max(parts)


def _source(wanted: str, cache: Path, say: Callable[[str], None]) -> Path:
    """The folder of llama.cpp's sources."""
    if re.fullmatch(r"\d+(\.\d+)*", wanted) is None:
        folders = [Path(wanted), Path(wanted) / _INSIDE.strip("/")]
        found = next((folder for folder in folders if (folder / "include" / "llama.h").is_file()), None)
        if found is None:
            raise TinyLMError(f"--llama-cpp {wanted}: neither a version nor a folder with llama.cpp's sources")
        return found.resolve()
    target = cache / f"llama-cpp-{wanted}"
    if not target.is_dir():
        say(f"fetching the source package of llama-cpp-python {wanted}")
        with new_folder(target, durable=False) as folder:
            _fetch(wanted, folder)
    return target


def _fetch(version: str, folder: Path) -> None:
    """Unpack llama.cpp's sources, as pip finds them with the machine's own settings."""
    with TemporaryDirectory(prefix="tinylm-llama-") as name:
        package = "llama-cpp-python"
        options = ["--quiet", "--no-deps", f"--no-binary={package}", f"--dest={name}"]
        command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
        call(command, "ERROR:", "set pip's usual variables, such as PIP_INDEX_URL, for where it is found")
        (path,) = Path(name).iterdir()
        with tarfile.open(path) as archive:
            members = [member for member in archive if _INSIDE in member.name]
            for member in members:
                member.name = member.name.partition(_INSIDE)[2]
            archive.extractall(folder, members, filter="data")
    if not (folder / "include" / "llama.h").is_file():
        raise TinyLMError(f"{path.name}: llama.cpp is not where it was in llama-cpp-python {VERSION}")


def _build(source: Path, build: Path, march: str) -> None:
    settings = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_C_COMPILER": _COMPILER.replace("g++", "gcc"),
        "CMAKE_CXX_COMPILER": _COMPILER,
        "CMAKE_BUILD_TYPE": "Release",
        "GGML_CPU_ARM_ARCH": march,
        "GGML_NATIVE": "OFF",
        "GGML_OPENMP": "OFF",
        "LLAMA_CPP": source,
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    # What cmake found out about the architecture before
    _compile(["cmake", "-S", str(LOOP), "-B", str(build), "-G", "Ninja", "-U", "HAVE_*", *options], build)
    threads = str(usable_threads())
    _compile(["cmake", "--build", str(build), "--target", "llama_loop", "--parallel", threads], build)


def _compile(command: list[str], build: Path) -> None:
    """Run a command of cmake; all that it says goes to a file."""
    build.mkdir(parents=True, exist_ok=True)
    log = build / "log.txt"
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    log.write_text(result.stdout)
    if result.returncode:
        lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
        last = lines[-1] if lines else "no reason given"
        reason = next((line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)), last)
        raise TinyLMError(f"llama.cpp cannot be compiled ({reason}); {log} says more")

"""Check whether chats can run on a machine, and say what to do where they cannot or would be slow."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module, metadata
from typing import Literal

import msgspec

from tinylm.errors import TinyLMError
from tinylm.runtime.device.machine import DOT_PRODUCT, Machine
from tinylm.runtime.device.subprocess_call import call
from tinylm.user_cache import cache_folder, is_writable

Level = Literal["ok", "note", "problem"]
PACKAGES = ("onnxruntime", "numpy", "sentencepiece", "msgspec")
"""Packages that a chat needs beside those of the command line."""

_LEAST_ONNXRUNTIME = (1, 23)
_LEAST_GLIBC = (2, 28)
_PYTHONS = ((3, 11), (3, 13))
_HOT = 80.0
_THROTTLED = (
    (1 << 0, "the supply voltage is too low: use the board's own power supply and a short cable"),
    (1 << 2, "it is throttled: cool it"),
    (1 << 3, "it is at its soft temperature limit: cool it"),
    (1 << 1, "its clock is capped: cool it, and check the power supply"),
    (1 << 16, "the supply voltage was too low since it was switched on: use the board's own power supply"),
    (1 << 18, "it was throttled since it was switched on: cool it"),
    (1 << 19, "it was at its soft temperature limit since it was switched on: cool it"),
)


class CheckResult(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        topic: what was checked, in a word.
        level: ok; note: makes chats slower or is unusual; problem: prevents chats.
        text: what was found.
        advice: what to do; empty where nothing is to be done.
    """

    topic: str
    level: Level
    text: str
    advice: str = ""


class Packages(msgspec.Struct, frozen=True):
    """Whether the packages that a chat needs can be imported.

    Attributes:
        onnxruntime: its version; None where it is not installed.
        failures: why a package cannot be imported, by package.
    """

    onnxruntime: str | None
    failures: dict[str, str]

    @property
    def works(self) -> bool:
        """Whether onnxruntime can be imported."""
        return "onnxruntime" not in self.failures


def try_packages() -> Packages:
    """Import each package in a subprocess, so that a crash can be reported."""
    failures = {}
    for name in PACKAGES:
        try:
            call(f"{__name__}:try_import", name)
        except TinyLMError as error:
            failures[name] = str(error)
    try:
        version: str | None = metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        version = None
    return Packages(version, failures)


def try_import(name: str) -> None:
    """Import a package.

    Raises:
        TinyLMError: the import failed; the message says why.
    """
    try:
        import_module(name)
    except Exception as error:  # noqa: BLE001 - an import may raise anything
        lines = str(error).splitlines()
        raise TinyLMError(lines[0] if lines else type(error).__name__) from None


def diagnose(machine: Machine, packages: Packages) -> Iterator[CheckResult]:
    """Check a machine, independently of any bundle."""
    yield from _processor(machine)
    yield from _system(machine, packages)
    yield _python(machine)
    yield from _memory(machine)
    yield from _clock(machine)
    yield from _packages(packages, machine)
    yield _cache()


def _processor(machine: Machine) -> Iterator[CheckResult]:
    cores, usable = machine.interpreter.cores, machine.usable_cores
    name = f"{machine.board}: " if machine.board else ""
    count = f"{cores} x " if cores > 1 else ""
    if machine.is_arm and not machine.has_64_bit_kernel and machine.cpu in {"ARM1176", "Cortex-A7"}:
        yield CheckResult(
            "processor",
            "problem",
            f"{name}{count}{machine.cpu} has no 64-bit mode",
            "onnxruntime has no packages for it: take a Raspberry Pi 3, Zero 2 W or newer",
        )
        return
    # To a 32-bit program the kernel lists other features
    features = machine.features if machine.interpreter.bits == 64 else None
    has = "" if features is None else f" with {', '.join(features) or 'no features for int8'}"
    remark = ""
    if machine.is_arm and features is not None and DOT_PRODUCT not in features:
        remark = "; no dot products: int8 is faster than fp32 here, but less so than on a Raspberry Pi 5"
    yield CheckResult("processor", "ok", f"{name}{count}{machine.cpu}{has}{remark}")
    if usable < cores:
        yield CheckResult(
            "cores",
            "note",
            f"this process may use {usable} of {cores} cores",
            "taskset or the CPU limit of a container or service sets that; raise it for speed",
        )
    if machine.usable_threads < usable:
        yield CheckResult(
            "threads",
            "note",
            f"OMP_NUM_THREADS limits chats to {machine.usable_threads} of {usable} cores",
            "unset it for speed",
        )


def _system(machine: Machine, packages: Packages) -> Iterator[CheckResult]:
    python = machine.interpreter
    # If onnxruntime runs all the same, somebody has built it for this system
    level: Level = "note" if packages.works else "problem"
    if python.bits == 32:
        kernel = "a 64-bit kernel under a 32-bit system" if machine.has_64_bit_kernel else "a 32-bit system"
        advice = "onnxruntime has no packages for it: install the 64-bit system"
        if machine.is_arm:
            advice += "; Raspberry Pi Imager has it as Raspberry Pi OS (64-bit)"
        yield CheckResult("system", level, f"{kernel} ({python.machine}, Python of 32 bits)", advice)
        return
    name, version = python.libc
    text = f"{python.system} {machine.kernel}, 64 bits" + (f", {name} {version}".rstrip() if name else "")
    if name == "musl":
        advice = "onnxruntime has no packages for musl (Alpine): use a system with glibc, such as Debian or Ubuntu"
        yield CheckResult("system", level, text, advice)
    elif name == "glibc" and numbers_of(version) < _LEAST_GLIBC:
        least = ".".join(map(str, _LEAST_GLIBC))
        yield CheckResult("system", level, text, f"onnxruntime's packages need glibc {least}: update the system")
    else:
        yield CheckResult("system", "ok", text)


def _python(machine: Machine) -> CheckResult:
    version = machine.interpreter.version
    least, newest = _PYTHONS
    if numbers_of(version)[:2] < least:
        return CheckResult("Python", "problem", version, "TinyLM needs Python 3.11 or newer: update the system")
    if numbers_of(version)[:2] > newest:
        advice = "TinyLM is not tested with it; if a package is missing for it, use Python 3.11 to 3.13"
        return CheckResult("Python", "note", version, advice)
    return CheckResult("Python", "ok", version)


def _memory(machine: Machine) -> Iterator[CheckResult]:
    memory = machine.memory
    if memory.total is None:
        return
    text = f"{_megabytes(memory.total)}"
    if memory.available is not None:
        text += f", {_megabytes(memory.available)} available"
    text += f", swap {_megabytes(memory.swap_total)}" if memory.swap_total else ", no swap"
    if memory.limit is not None:
        text += f"; limited to {_megabytes(memory.limit)} by a control group"
    if memory.total < 700e6 and not memory.swap_total:
        yield CheckResult("memory", "note", text, "add zram or a swap file, so that an update does not end a chat")
    else:
        yield CheckResult("memory", "ok", text)


def _clock(machine: Machine) -> Iterator[CheckResult]:
    if machine.temperature is not None:
        hot = machine.temperature >= _HOT
        advice = "at this temperature the clock is lowered: add a heat sink or a fan" if hot else ""
        yield CheckResult("temperature", "note" if hot else "ok", f"{machine.temperature:.0f} °C", advice)
    if machine.throttled is not None:
        now = machine.throttled & 0xF
        # A flag of now is set among those since power-on too
        told = [text for bit, text in _THROTTLED if machine.throttled & bit & ~(now << 16)]
        if not told:
            yield CheckResult("power", "ok", "neither throttled nor below its voltage since it was switched on")
        for text in told:
            problem, _, advice = text.partition(": ")
            yield CheckResult("power", "note", problem, advice)
    if machine.governor == "powersave" and machine.is_arm:
        path = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield CheckResult("clock", "note", "kept low (governor powersave)", f"echo ondemand | sudo tee {path}")


def _packages(packages: Packages, machine: Machine) -> Iterator[CheckResult]:
    version = packages.onnxruntime
    failure = packages.failures.get("onnxruntime")
    install = "pip install 'onnxruntime>=1.23'"
    if machine.interpreter.bits == 32:
        install = "change the system first, see above"
    if version == "1.21.0" and machine.is_arm:
        yield CheckResult("onnxruntime", "problem", "1.21.0 crashes on a Raspberry Pi 4", install)
    elif version is not None and numbers_of(version)[:2] < _LEAST_ONNXRUNTIME:
        yield CheckResult("onnxruntime", "problem", f"{version} is too old for TinyLM's bundles", install)
    elif failure and version is None:
        yield CheckResult("onnxruntime", "problem", "not installed", install)
    elif failure:
        advice = "install it again: pip install --force-reinstall onnxruntime"
        yield CheckResult("onnxruntime", "problem", f"{version} cannot be imported: {failure}", advice)
    else:
        yield CheckResult("onnxruntime", "ok", version or "works")
    for name, why in packages.failures.items():
        if name != "onnxruntime":
            yield CheckResult(name, "problem", f"cannot be imported: {why}", f"pip install --force-reinstall {name}")


def _cache() -> CheckResult:
    try:
        folder = str(cache_folder())
    except RuntimeError:
        folder = "no home folder"
    if is_writable():
        return CheckResult("cache", "ok", folder)
    return CheckResult(
        "cache",
        "note",
        f"{folder} cannot be written: bundles are hashed at each start, and threads are guessed",
        "set XDG_CACHE_HOME to a folder that you can write",
    )


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (1, 23) for 1.23.0rc1."""
    numbers = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

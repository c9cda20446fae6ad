"""Facts about the machine: board, processor, system, memory."""

from __future__ import annotations

import os
import platform
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinylm.processors import ROOT, allowed_cores, control_groups, installed_cores, usable_cores, usable_threads
from tinylm.runtime.device import other_systems

DOT_PRODUCT = "asimddp"
FEATURES = {
    # Those that onnxruntime's int8 kernels test for, in Linux's names
    "arm": ("asimd", DOT_PRODUCT, "i8mm", "sve", "bf16"),
    "x86": ("sse4_1", "avx2", "avx_vnni", "avx512_vnni", "amx_int8"),
}
_ARM_CORES = {
    ("0x41", "0xb76"): "ARM1176",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
}
_UNLIMITED = 2**60  # cgroup v1 writes a huge number for no limit


def _libc() -> tuple[str, str]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # not glibc, or not Unix
        name = version = ""
    return ("musl", "") if not name and any(Path("/lib").glob("ld-musl-*")) else (name, version)


@dataclass(frozen=True)
class Interpreter:
    """Facts about Python and the system that it runs on.

    Attributes:
        system: Linux, Darwin or Windows.
        machine: architecture of the kernel, as in `uname -m`.
        bits: 32 or 64, of Python and so of the userland.
        version: version of Python.
        libc: glibc or musl, and its version; empty elsewhere.
        cores: see `tinylm.processors.installed_cores`.
        allowed_cores: see `tinylm.processors.allowed_cores`.
    """

    system: str = field(default_factory=platform.system)
    machine: str = field(default_factory=platform.machine)
    bits: int = 8 * struct.calcsize("P")
    version: str = field(default_factory=platform.python_version)
    libc: tuple[str, str] = field(default_factory=_libc)
    cores: int = field(default_factory=installed_cores)
    allowed_cores: int = field(default_factory=allowed_cores)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes; None where the system does not report it.

    Attributes:
        total: memory of the machine.
        available: memory that can be used without swapping.
        swap_total: swap, with zram.
        swap_free: unused part of the swap.
        limit: the lowest limit of the control groups of this process; None: no limit.
        room: what a new program can use: available memory and free swap, within the limits.
        own: resident memory of this process.
    """

    total: int | None
    available: int | None
    swap_total: int
    swap_free: int
    limit: int | None
    room: int | None
    own: int


@dataclass(frozen=True)
class Machine:
    """Facts about a machine.

    Attributes:
        board: its name in the device tree, for example "Raspberry Pi 4 Model B Rev 1.4".
        cpu: name of the processor.
        features: those of `FEATURES` that the processor has; None where the system does not report them.
        interpreter: see `Interpreter`.
        kernel: release of the kernel.
        memory: see `Memory`.
        usable_cores: see `tinylm.processors.usable_cores`.
        usable_threads: see `tinylm.processors.usable_threads`.
        temperature: temperature of the processor in °C.
        throttled: a Raspberry Pi's flags: bits 0 to 3 now, bits 16 to 19 since it was switched on.
        governor: policy for the clock's frequency.
    """

    board: str | None
    cpu: str
    features: tuple[str, ...] | None
    interpreter: Interpreter
    kernel: str
    memory: Memory
    usable_cores: int
    usable_threads: int
    temperature: float | None
    throttled: int | None
    governor: str | None

    @property
    def is_arm(self) -> bool:
        """Whether it has an Arm processor."""
        return is_arm(self.interpreter.machine)

    @property
    def has_64_bit_kernel(self) -> bool:
        """Whether its kernel has 64 bits, whatever the userland has."""
        return self.interpreter.machine.lower() in {"aarch64", "arm64", "x86_64", "amd64"}


def read_machine(root: Path = ROOT, interpreter: Interpreter | None = None) -> Machine:
    """Read the facts about this machine.

    Args:
        root: the folder that holds proc and sys.
        interpreter: facts about Python; None: about this one.
    """
    python = interpreter or Interpreter()
    cpu, features = _cpu(root, python)
    cores = usable_cores(root, python.allowed_cores)
    return Machine(
        board=_board(root),
        cpu=cpu,
        features=features,
        interpreter=python,
        kernel=_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        memory=read_memory(root),
        usable_cores=cores,
        usable_threads=usable_threads(cores=cores),
        temperature=_temperature(root),
        throttled=_throttled(root),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    )


def is_arm(machine: str) -> bool:
    """Whether an architecture, as in `uname -m`, is 32-bit or 64-bit Arm."""
    return machine.lower().startswith(("arm", "aarch"))


def cpu_name(root: Path = ROOT) -> str:
    """Name of the processor."""
    return _cpu(root, Interpreter())[0]


@cache
def has_avx2() -> bool:
    """Whether the processor is an x86 with AVX2, for which a bundle may have a decoding graph of its own."""
    return "avx2" in (_cpu(ROOT, Interpreter())[1] or ())


def read_memory(root: Path = ROOT) -> Memory:
    """Read how much memory there is, and how much of it a new program can use."""
    info = _numbers(root / "proc/meminfo", unit=1024)
    if "MemTotal" not in info:
        total, available = other_systems.memory() if root == ROOT else (None, None)
        return Memory(total, available, 0, 0, None, available, 0)
    available, swap_free = info.get("MemAvailable"), info.get("SwapFree", 0)
    room = None if available is None else available + swap_free
    limit = None
    for folder in control_groups(root, "memory"):
        most = _count(folder / "memory.max") or _count(folder / "memory.limit_in_bytes")
        if most is None or most >= min(_UNLIMITED, info["MemTotal"]):
            continue
        used = _count(folder / "memory.current") or _count(folder / "memory.usage_in_bytes") or 0
        details = _numbers(folder / "memory.stat")
        cached = details.get("inactive_file", details.get("total_inactive_file", 0))
        swap = _text(folder / "memory.swap.max")
        swap_room = swap_free if swap == "max" else min(swap_free, int(swap)) if swap and swap.isdecimal() else 0
        limit = most if limit is None else min(limit, most)
        here = max(0, most - used + cached) + swap_room
        room = here if room is None else min(room, here)
    own = _numbers(root / "proc/self/status", unit=1024).get("VmRSS", 0)
    return Memory(info["MemTotal"], available, info.get("SwapTotal", 0), swap_free, limit, room, own)


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MiB; None where the system does not report it."""
    status = _numbers(ROOT / "proc/self/status", unit=1024)
    # getrusage would count the memory of the parent process before it executed this program
    return status["VmHWM"] / 2**20 if "VmHWM" in status else other_systems.peak_rss_mb()


def _board(root: Path) -> str | None:
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        text = _text(root / path)
        if text:
            return text.rstrip("\0")
    return None


def _cpu(root: Path, interpreter: Interpreter) -> tuple[str, tuple[str, ...] | None]:
    lines = (_text(root / "proc/cpuinfo") or "").splitlines()
    # Where cores differ, the last one listed is a faster one
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = FEATURES["arm" if is_arm(interpreter.machine) else "x86"]
    listed = values.get("Features", values.get("flags"))
    if listed is None:
        name, found = other_systems.processor() if root == ROOT else ("", None)
        return name or interpreter.machine, found
    part = values.get("CPU part")
    name = values.get("model name") or f"core {part} of implementer {values.get('CPU implementer')}"
    if part is not None:
        name = _ARM_CORES.get((values.get("CPU implementer", ""), part), name)
    return name, tuple(feature for feature in wanted if feature in listed.split())


def _temperature(root: Path) -> float | None:
    temperatures = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        value = _text(zone / "temp")
        if value and value.lstrip("-").isdecimal():
            temperatures[_text(zone / "type") or ""] = int(value) / 1000
    for kind in ("cpu-thermal", "cpu_thermal", "x86_pkg_temp"):
        if kind in temperatures:
            return temperatures[kind]
    return None


def _throttled(root: Path) -> int | None:
    # soc/soc:firmware up to the Pi 4; the Pi 5 has an address in the name
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        try:
            return int(_text(path) or "", 16)
        except ValueError:
            return None
    return None


def _numbers(path: Path, unit: int = 1) -> dict[str, int]:
    """Numbers by name, from the lines of a file that hold a name and a number."""
    numbers = {}
    for line in (_text(path) or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[1].isdecimal():
            numbers[words[0]] = int(words[1]) * unit
    return numbers


def _count(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return None

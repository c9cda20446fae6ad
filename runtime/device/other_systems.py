"""Facts about the machine on macOS and Windows."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import Any

_MAC_FEATURES = {"FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16"}
_WINDOWS_AVX2 = 40  # PF_AVX2_INSTRUCTIONS_AVAILABLE of winnt.h


def memory() -> tuple[int | None, int | None]:
    """Total and available memory in bytes; None where unknown."""
    if platform.system() == "Windows":
        return _windows_memory()
    size = _sysctl("hw.memsize") if platform.system() == "Darwin" else ""
    return (int(size) if size.isdecimal() else None), None


def processor() -> tuple[str, tuple[str, ...] | None]:
    """Name of the processor, and those of `machine.FEATURES` that it has; None where unknown.

    On x86 only AVX2 is tested for.
    """
    system, is_x86 = platform.system(), platform.machine().lower() in {"amd64", "x86_64"}
    if system == "Windows":
        has_avx2 = is_x86 and _kernel32().IsProcessorFeaturePresent(_WINDOWS_AVX2)
        return platform.processor(), (("avx2",) if has_avx2 else ()) if is_x86 else None
    if system != "Darwin":
        return platform.processor(), None
    if is_x86:
        features: tuple[str, ...] | None = ("avx2",) if _sysctl("hw.optional.avx2_0") == "1" else ()
    else:
        features = ("asimd", *(name for key, name in _MAC_FEATURES.items() if _sysctl(f"hw.optional.arm.{key}") == "1"))
    return _sysctl("machdep.cpu.brand_string"), features


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MiB; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _sysctl(name: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _kernel32() -> Any:
    import ctypes

    # By name, as mypy knows `windll` on Windows only
    return getattr(ctypes, "windll").kernel32  # noqa: B009


def _windows_memory() -> tuple[int | None, int | None]:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", *"abcde")),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    if not _kernel32().GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return status.total, status.available

"""Resolve device, precision and compilation for this machine, and set up the process."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from typing import Literal

import torch

from tinylm import __version__
from tinylm.config import TrainConfig
from tinylm.errors import ConfigError
from tinylm.processors import usable_cores, usable_threads
from tinylm.user_cache import cache_folder, is_writable

_LEAST_MINUTES_TO_COMPILE = 2.0
_TURNS, _TURNS_SECONDS = 20, 0.3

# Parameters of mallopt, malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def resolve_hardware(settings: TrainConfig) -> tuple[str, str]:
    """Replace `auto` by the device and the precision of this machine.

    Raises:
        ConfigError: this machine does not have the device.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise ConfigError(f"train.device: no {device} here; there is {', '.join(d for d in there if there[d])}")
    precision = settings.precision
    if precision == "auto":
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if kind == "cuda"
            else kind == "cpu" and _bf16_is_faster_on_cpu()
        )
        precision = "bf16" if fast else "fp32"
    return device, precision


def machine_facts() -> dict[str, dict[str, str | int]]:
    """Machine and package versions, for a run's log."""
    machine: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
    }
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    versions: dict[str, str | int] = {
        "tinylm": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "sentencepiece")},
    }
    return {"machine": machine, "versions": versions}


def limit_torch_threads() -> None:
    """Limit torch to `usable_threads()` threads: by itself it ignores the CPU quota of a container."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_threads()))


def resolve_compile(settings: TrainConfig, device: str) -> Literal["on", "off"]:
    """Decide whether to compile the model on this device.

    On a CPU, compilation took 40 s and made training no faster. On a GPU it needs Triton and a C compiler, and a run of
    at least two minutes to gain back its time.
    """
    if settings.compile != "auto":
        return settings.compile
    if not settings.steps and settings.minutes < _LEAST_MINUTES_TO_COMPILE:
        return "off"
    if not device.startswith("cuda") or not _has_c_compiler() or importlib.util.find_spec("triton") is None:
        return "off"
    # Triton generates code for Volta and later
    return "on" if torch.cuda.get_device_capability(torch.device(device)) >= (7, 0) else "off"


def prepare_process() -> None:
    """Set up memory and folders of the process for training; call it before torch's compiler is imported."""
    _keep_freed_memory()
    _place_compiled_code()


def _place_compiled_code() -> None:
    """Let torch's compiler use TinyLM's cache folder instead of one in /tmp, unless the user has set another.

    The compiler creates its folder on import, which the first optimizer causes even if nothing is compiled.
    """
    if is_writable():
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torchinductor"))


def _keep_freed_memory() -> None:
    """Let glibc keep the memory that a step frees for the next step.

    By default glibc returns large blocks to the system, which clears each page again: some 90,000 page faults a step at
    6 million parameters, a tenth of the step's time.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _has_c_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name)


def _bf16_is_faster_on_cpu() -> bool:
    """Measure whether a matrix product in bf16 is faster than in fp32 on this processor."""
    matrices = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.bfloat16, torch.float32)}
    least = dict.fromkeys(matrices, float("inf"))
    began = time.perf_counter()
    # Alternating and repeated, so that a moment of load from other programs does not decide
    for turn in range(_TURNS):
        for dtype, matrix in matrices.items():
            started = time.perf_counter()
            torch.mm(matrix, matrix)
            least[dtype] = min(least[dtype], time.perf_counter() - started)
        # Without bf16 instructions, a product takes a hundred times as long
        if turn and time.perf_counter() - began > _TURNS_SECONDS:
            break
    return least[torch.bfloat16] * 1.25 < least[torch.float32]

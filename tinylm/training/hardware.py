"""What `auto` stands for on this machine: the device to train on, the precision, and whether to compile."""

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
    """The device and the precision that `auto` stands for on this machine.

    Raises:
        ConfigError: the wanted device is not there.
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
    """What a run's log says of the machine and of the versions that train."""
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
    """Let torch use at most `usable_threads()` threads: by itself it disregards the CPU quota of a container."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_threads()))


def resolve_compile(settings: TrainConfig, device: str) -> Literal["on", "off"]:
    """Whether to compile the model on this device.

    On a CPU compiling took 40 s and gave nothing. For a GPU it needs Triton and, for Triton, a C compiler; and it
    needs time, which a short run does not get back.
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
    """Set what holds for the whole process while it trains; call it before torch's compiler is imported."""
    _keep_freed_memory()
    _place_compiled_code()


def _place_compiled_code() -> None:
    """Let torch's compiler use TinyLM's cache folder instead of one below /tmp, unless the user has chosen another.

    It creates its folder while it is imported, which the first optimizer does, even if nothing is compiled.
    """
    if is_writable():
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torchinductor"))


def _keep_freed_memory() -> None:
    """Let this process keep the memory that a step frees, for the next one; where the C library is glibc.

    By itself glibc gives large blocks back to the system, which clears each page anew: some 90,000 page faults a step
    at 6 million parameters, a tenth of its time.
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
    """Whether this processor computes in bf16, which shows in the time of a matrix product."""
    matrices = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.bfloat16, torch.float32)}
    least = dict.fromkeys(matrices, float("inf"))
    began = time.perf_counter()
    # In turns and often, so that a moment in which the machine is busy does not decide
    for turn in range(_TURNS):
        for dtype, matrix in matrices.items():
            started = time.perf_counter()
            torch.mm(matrix, matrix)
            least[dtype] = min(least[dtype], time.perf_counter() - started)
        # Without instructions for it, a product in bf16 takes a hundred times as long
        if turn and time.perf_counter() - began > _TURNS_SECONDS:
            break
    return least[torch.bfloat16] * 1.25 < least[torch.float32]

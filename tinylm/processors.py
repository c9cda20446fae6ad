"""Processor cores and the number of threads that may compute on them.

The one place where cores are counted: training, chat, server, doctor and benchmarks all ask here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
"""The folder that holds proc and sys."""


def installed_cores() -> int:
    """Logical cores of the machine."""
    return os.cpu_count() or 1


def allowed_cores() -> int:
    """Logical cores in this process's affinity mask (taskset, cpuset); all of them where the system has no masks."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed_cores()


def usable_cores(root: Path = ROOT, allowed: int | None = None) -> int:
    """Cores that this process can keep busy: its affinity mask, within the CPU quota of its control groups.

    A fraction of a core is not counted: threads that wait for each other would all wait for the throttled one.

    Args:
        root: the folder that holds proc and sys.
        allowed: cores in the affinity mask; None asks the system.

    Returns:
        at least 1.
    """
    cores: float = allowed_cores() if allowed is None else allowed
    for folder in control_groups(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2
        quota = quota or _read(folder / "cpu.cfs_quota_us")  # version 1
        period = period or _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            cores = min(cores, int(quota) / int(period))
    return max(1, int(cores))


def usable_threads(processes: int = 1, cores: int | None = None) -> int:
    """Threads to compute with where the user names no number: the usable cores, at most OMP_NUM_THREADS.

    Args:
        processes: processes on this machine that share the cores equally.
        cores: usable cores; None counts them.

    Returns:
        threads of each process, at least 1.
    """
    share = max(1, (usable_cores() if cores is None else cores) // processes)
    limit = omp_num_threads()
    # torchrun sets 1 for several processes where the user has set nothing
    if limit is None or (limit == 1 and processes > 1 and "TORCHELASTIC_RUN_ID" in os.environ):
        return share
    return min(share, limit)


def omp_num_threads() -> int | None:
    """The value of OMP_NUM_THREADS, the outermost of nested levels; None where it is unset or not a positive number.

    Source: OpenMP 5.2 specification, section 21.1.2.
    """
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) else None


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups (version 1 or 2) that limit this process: its own and its ancestors.

    Args:
        root: the folder that holds proc and sys.
        controller: cpu or memory.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if names else "")
        group = Path(path.lstrip("/"))
        # In a container the path may be the host's, of which only the top is mounted
        yield from dict.fromkeys(top / part for part in (group, *group.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""

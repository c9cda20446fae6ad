"""Limit how long the threads of PyTorch's CPU kernels spin while they wait for work.

By default a waiting thread spins for milliseconds. Under load by other programs it then occupies the core that the
thread it waits for needs, and training can take ten times as long (docs/experiments.md).
"""

from __future__ import annotations

import os

# Rounds of waiting in GNU's OpenMP, of some tens of nanoseconds each; milliseconds in LLVM's and Intel's
_SETTINGS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
_USERS_OWN = ("OMP_WAIT_POLICY", *_SETTINGS)


def limit_spinning() -> None:
    """Let waiting threads yield their core soon, unless the user has set how they wait.

    The OpenMP library reads the environment when it is loaded, so call this before torch is imported. Child processes
    inherit the setting.
    """
    if not any(name in os.environ for name in _USERS_OWN):
        os.environ.update(_SETTINGS)

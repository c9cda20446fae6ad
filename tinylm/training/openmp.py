"""How long the threads of PyTorch's CPU kernels wait for work before they sleep.

By default a waiting thread spins for milliseconds. Beside other programs it then holds the core that the thread it
waits for needs, and training can lose nine tenths of its speed (docs/experiments.md).
"""

from __future__ import annotations

import os

# Rounds of waiting in GNU's OpenMP, of some tens of nanoseconds each; milliseconds in LLVM's and Intel's
_SETTINGS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
_USERS_OWN = ("OMP_WAIT_POLICY", *_SETTINGS)


def limit_spinning() -> None:
    """Let waiting threads give way soon; where the user has set it, leave it.

    The OpenMP library reads the environment when it is loaded, so this has to come before torch is imported. It also
    holds for the processes that this one starts.
    """
    if not any(name in os.environ for name in _USERS_OWN):
        os.environ.update(_SETTINGS)

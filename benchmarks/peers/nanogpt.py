"""nanoGPT by its own train.py, in a process of its own; its model.py to score what came of it."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from token_stream import TokenStream

from tinylm.errors import TinyLMError
from tinylm.evaluation import Window

_WARM_UP = 0.1
_NOT_COUNTED = -1  # nanoGPT's own
_EVALUATED_BATCHES = 10


@dataclass(frozen=True)
class Trained:
    """What a run took.

    Attributes:
        checkpoint: the file.
        step_seconds: of each iteration but the first and the last, during which it also evaluates.
    """

    checkpoint: Path
    step_seconds: list[float]


class NanoGPT:
    """A copy of the repository.

    Args:
        path: of it: a folder with train.py, or a bare git directory.
        folder: for what it writes.
        threads: of PyTorch.

    Raises:
        TinyLMError: it is not there.
    """

    def __init__(self, path: Path, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder.absolute(), threads
        self.path = path.absolute()
        if not (path / "train.py").is_file() and (path / "HEAD").is_file():
            self.path = self._folder / "nanoGPT"
            self.path.mkdir()
            archive = subprocess.run(["git", "-C", path, "archive", "HEAD"], stdout=subprocess.PIPE, check=True)
            subprocess.run(["tar", "-x", "-C", self.path], input=archive.stdout, check=True)
        for name in ("train.py", "model.py"):
            if not (self.path / name).is_file():
                raise TinyLMError(f"--peer {path}: no {name} there; give a copy of karpathy/nanoGPT")

    def prepare(self, stream: TokenStream) -> None:
        """Write the token shards in its own form."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        stream.training.tofile(data / "train.bin")
        stream.held_out.tofile(data / "val.bin")
        (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": stream.vocab_size}))

    def train(
        self, shape: dict[str, int], steps: int, learning_rate: float, dropout: float = 0.0, evaluations: int = 1
    ) -> Trained:
        """Train anew: on the CPU in fp32, not compiled, without accumulation of gradients.

        Args:
            shape: options of train.py for the model and the batch.
            steps: iterations.
            learning_rate: the peak; it decays to a tenth.
            dropout: probability.
            evaluations: on held-out data, equally often on the way; the best model of them is kept.
        """
        out = self._folder / f"out-{steps}-{learning_rate:g}-{dropout:g}"
        options = {
            **shape,
            "dataset": str(self._folder / "data"),
            "out_dir": str(out),
            "device": "cpu",
            "dtype": "float32",
            "compile": False,
            "gradient_accumulation_steps": 1,
            "learning_rate": learning_rate,
            "min_lr": learning_rate / 10,
            "warmup_iters": max(1, round(steps * _WARM_UP)),
            "max_iters": steps,
            "lr_decay_iters": steps,
            "dropout": dropout,
            # It saves where it evaluates. At the end alone, this is on hardly more than nothing
            "eval_interval": max(1, steps // evaluations),
            "eval_iters": 1 if evaluations == 1 else _EVALUATED_BATCHES,
            "always_save_checkpoint": evaluations == 1,
        }
        command = [sys.executable, "train.py", *(f"--{name}={value}" for name, value in options.items())]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TinyLMError(f"nanoGPT: {(done.stderr.splitlines() or ['no word'])[-1]}")
        times = [float(time) / 1e3 for time in re.findall(r"^iter \d+: .* time ([\d.]+)ms", done.stdout, re.MULTILINE)]
        return Trained(out / "ckpt.pt", times[1:-1])

    def losses(self, trained: Trained, windows: Sequence[Window], batch: int) -> float:
        """Summed negative log-likelihood of windows, in nats; all those of a batch are equally long."""
        saved = torch.load(trained.checkpoint, weights_only=True)
        module = self._model_module()
        model = module.GPT(module.GPTConfig(**saved["model_args"]))
        model.load_state_dict(saved["model"])
        model.eval()
        total = 0.0
        with torch.inference_mode():
            for first in range(0, len(windows), batch):
                part = windows[first : first + batch]
                inputs, targets = (
                    torch.from_numpy(np.stack([getattr(window, name) for window in part]))
                    for name in ("inputs", "targets")
                )
                logits, _ = model(inputs, targets.clamp(min=_NOT_COUNTED))  # without targets: of the last place alone
                total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        return total

    def _model_module(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("nanogpt_model", self.path / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look there
        spec.loader.exec_module(module)
        return module

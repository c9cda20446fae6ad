"""The loss on the device: precision, copies to it, and compilation where that pays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from tinylm.config import TrainConfig
from tinylm.evaluation import IGNORED
from tinylm.training.cross_entropy import linear_cross_entropy
from tinylm.training.distributed import Ranks
from tinylm.training.model import LanguageModel


class LossModule(nn.Module):
    """A model and its loss in one call, as PyTorch's distributed engines want it.

    Args:
        model: on the device.
        compiled: whether training goes through `torch.compile`.
    """

    def __init__(self, model: LanguageModel, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.fast_hidden = torch.compile(model.hidden) if compiled else None
        # By itself, as fine-tuning has another number of targets each time; on CPUs it is written out
        on_cpu = model.embedding.weight.device.type == "cpu"
        self.fast_head = torch.compile(self.head) if compiled and not on_cpu else None

    def forward(self, ids: Tensor, kept: Tensor | None, targets: Tensor, fast: bool) -> Tensor:
        """Summed negative log-likelihood, in nats.

        Args:
            ids: [batch, length].
            kept: numbers of the positions that have a target, of batch x length, [targets]; None for all.
            targets: their ids.
            fast: compiled, if that is wanted.
        """
        hidden = self.fast_hidden if fast and self.fast_hidden is not None else self.model.hidden
        head = self.fast_head if fast and self.fast_head is not None else self.head
        states = hidden(ids).flatten(0, 1)
        return head(states if kept is None else states[kept], targets)

    def head(self, states: Tensor, targets: Tensor) -> Tensor:
        """The output layer and the summed loss of its input, [targets, d_model]."""
        if states.device.type == "cpu":
            return linear_cross_entropy(states, self.model.output.weight, targets)
        return F.cross_entropy(self.model.output(states).float(), targets, reduction="sum")


class LossComputer:
    """Computes the summed loss of a model, in training compiled if that is wanted.

    Args:
        model: on the device.
        settings: device, precision and compile resolved (see `tinylm.training.hardware`).
        notify: told when the model cannot be compiled and is computed as it is.
        ranks: that train together.
    """

    def __init__(
        self,
        model: LanguageModel,
        settings: TrainConfig,
        notify: Callable[[str], None],
        ranks: Ranks | None = None,
    ) -> None:
        self.model, self._notify, self._ranks = model, notify, ranks or Ranks()
        self.device = torch.device(settings.device)
        self._bf16 = settings.precision == "bf16"
        self.compiled = settings.compile == "on"
        try:
            loss = LossModule(model, self.compiled)
        except RuntimeError as error:  # of a Python that torch's compiler does not know
            self._note(error)
            self.compiled = False
            loss = LossModule(model, compiled=False)
        self._module = loss
        blocks = list(model.blocks)
        self._loss: Callable[..., Tensor] = self._ranks.distribute(model, loss, blocks, settings.sharded)
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 for what is not bf16

    def head_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Summed loss of what the output layer sees, [targets, d_model], as it is computed in training.

        For a measurement of its speed: not for models that several processes share.
        """
        with self.autocast():
            return self._module.head(states, targets)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision to compute in."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def loss_sum(self, inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> Tensor:
        """Summed negative log-likelihood, in nats, of the counted targets; logits are made for those alone."""
        return self._loss_sum(inputs, targets, fast=False)

    def backward(self, batches: list[tuple[NDArray[np.int64], NDArray[np.int64]]], counted: int) -> list[Tensor]:
        """Add the gradient of the mean loss over batches.

        Args:
            batches: inputs and targets of this process.
            counted: targets in all of them, in all processes.

        Returns:
            the part of each batch in the mean loss, scalars on the device.
        """
        try:
            return self._backward(batches, counted)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._note(error)
            self.compiled = False
            self.model.zero_grad(set_to_none=True)
            return self.backward(batches, counted)

    def _note(self, error: Exception) -> None:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.endswith(":")), type(error).__name__)
        self._notify(f"the model cannot be compiled here and is computed as it is, more slowly: {reason}")

    def _backward(self, batches: list[tuple[NDArray[np.int64], NDArray[np.int64]]], counted: int) -> list[Tensor]:
        losses: list[Tensor] = []
        # The engines take the mean of what the processes have, where the sum is wanted
        scale = self._ranks.size / counted
        for inputs, targets in batches:
            with self.autocast():
                loss = self._loss_sum(inputs, targets, fast=self.compiled) * scale
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach() / self._ranks.size)
        return self._ranks.sum(losses)

    def _loss_sum(self, inputs: NDArray[np.int64], targets: NDArray[np.int64], fast: bool) -> Tensor:
        flat = targets.reshape(-1)
        kept = np.flatnonzero(flat != IGNORED)
        some = len(kept) < len(flat)
        return self._loss(
            self._to_device(inputs),
            self._to_device(kept) if some else None,
            self._to_device(flat[kept] if some else flat),
            fast,
        )

    def _to_device(self, array: NDArray[np.int64]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        # From pinned memory the copy runs while the host goes on
        return tensor.pin_memory().to(self.device, non_blocking=True)

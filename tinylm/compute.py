"""The loss on the device: precision, copies to it, and compilation where that pays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from tinylm.config import TrainConfig
from tinylm.evaluation import IGNORED
from tinylm.model import LanguageModel


class LossComputer:
    """Computes the summed loss of a model, in training compiled if that is wanted.

    Args:
        model: on the device.
        settings: device, precision and compile resolved (see `tinylm.hardware`).
        notify: told when the model cannot be compiled and is computed as it is.
    """

    def __init__(self, model: LanguageModel, settings: TrainConfig, notify: Callable[[str], None]) -> None:
        self.model, self._notify = model, notify
        self.device = torch.device(settings.device)
        self._bf16 = settings.precision == "bf16"
        self._fast_hidden, self._fast_head = model.hidden, self._head
        self.compiled = False
        if settings.compile == "on":
            try:
                self._fast_hidden = torch.compile(model.hidden)
                # By itself, as fine-tuning has another number of targets each time
                self._fast_head = torch.compile(self._head)
                self.compiled = True
            except RuntimeError as error:  # of a Python that it does not know
                self._note(error)
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 for what is not bf16

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision to compute in."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def loss_sum(self, inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> Tensor:
        """Summed negative log-likelihood, in nats, of the counted targets; logits are made for those alone."""
        return self._loss_sum(inputs, targets, self.model.hidden, self._head)

    def backward(self, batches: list[tuple[NDArray[np.int64], NDArray[np.int64]]], counted: int) -> list[Tensor]:
        """Add the gradient of the mean loss over batches.

        Args:
            batches: inputs and targets.
            counted: targets in all of them.

        Returns:
            the part of each batch in the mean loss, scalars on the device.
        """
        if not self.compiled:
            return self._backward(batches, counted, self.model.hidden, self._head)
        try:
            return self._backward(batches, counted, self._fast_hidden, self._fast_head)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._note(error)
            self.compiled = False
            self.model.zero_grad(set_to_none=True)
            return self.backward(batches, counted)

    def _note(self, error: Exception) -> None:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.endswith(":")), type(error).__name__)
        self._notify(f"the model cannot be compiled here and is computed as it is, more slowly: {reason}")

    def _backward(
        self,
        batches: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
        counted: int,
        hidden: Callable[[Tensor], Tensor],
        head: Callable[[Tensor, Tensor], Tensor],
    ) -> list[Tensor]:
        losses: list[Tensor] = []
        for inputs, targets in batches:
            with self.autocast():
                loss = self._loss_sum(inputs, targets, hidden, head) / counted
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return losses

    def _loss_sum(
        self,
        inputs: NDArray[np.int64],
        targets: NDArray[np.int64],
        hidden: Callable[[Tensor], Tensor],
        head: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        states = hidden(self._to_device(inputs)).flatten(0, 1)
        flat = targets.reshape(-1)
        kept = np.flatnonzero(flat != IGNORED)
        if len(kept) < len(flat):
            states, flat = states[self._to_device(kept)], flat[kept]
        return head(states, self._to_device(flat))

    def _head(self, states: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.model.output(states).float(), targets, reduction="sum")

    def _to_device(self, array: NDArray[np.int64]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        # From pinned memory the copy runs while the host goes on
        return tensor.pin_memory().to(self.device, non_blocking=True)

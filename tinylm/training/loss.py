"""The loss and its gradient: output layer and cross-entropy, precision, copies to the device, compilation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from tinylm.config import TrainConfig
from tinylm.data.dataset.batches import Batch
from tinylm.evaluation import IGNORED
from tinylm.training.distributed import Ranks
from tinylm.training.model import LanguageModel

_LOGITS = 1 << 20  # that linear_cross_entropy computes at once
_LEAST_LIKELIHOOD = 1e-30  # below it, the logarithm of a softmax in fp32 is too inexact


class LossModule(nn.Module):
    """A model and its loss in one forward call, as DDP and FSDP2 need it.

    Args:
        model: the model, on its device.
        compiled: whether training uses `torch.compile`.
    """

    def __init__(self, model: LanguageModel, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.fast_hidden = torch.compile(model.hidden) if compiled else None
        # Compiled separately, as the number of targets changes in fine-tuning; on CPUs it is `linear_cross_entropy`
        on_cpu = model.embedding.weight.device.type == "cpu"
        self.fast_head = torch.compile(self.head) if compiled and not on_cpu else None

    def forward(self, ids: Tensor, segments: Tensor | None, kept: Tensor | None, targets: Tensor, fast: bool) -> Tensor:
        """Sum the negative log-likelihood of the targets, in nats.

        Args:
            ids: token ids, [batch, length].
            segments: of the ids, see `LanguageModel.hidden`.
            kept: indices of the positions that have a target, of batch x length, [targets]; None for all.
            targets: their ids.
            fast: compiled, if that is wanted.
        """
        hidden = self.fast_hidden if fast and self.fast_hidden is not None else self.model.hidden
        head = self.fast_head if fast and self.fast_head is not None else self.head
        states = hidden(ids, segments).flatten(0, 1)
        return head(states if kept is None else states[kept], targets)

    def head(self, states: Tensor, targets: Tensor) -> Tensor:
        """Apply the output layer to states [targets, d_model] and sum the loss."""
        if states.device.type == "cpu":
            return linear_cross_entropy(states, self.model.output.weight, targets)
        return F.cross_entropy(self.model.output(states).float(), targets, reduction="sum")


class LossComputer:
    """Computes the loss of a model and its gradient, in the configured precision, compiled if configured.

    Args:
        model: the model, on its device.
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
        """Compute the output layer and the summed loss of states [targets, d_model] as in training.

        For a measurement of speed; not for a model that several processes share.
        """
        with self.autocast():
            return self._module.head(states, targets)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of the configured precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def loss_sum(self, inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> Tensor:
        """Sum the negative log-likelihood of the counted targets, in nats; only their logits are computed."""
        return self._loss_sum(Batch(inputs, targets), fast=False)

    def backward(self, batches: Sequence[Batch], counted: int) -> list[Tensor]:
        """Add the gradient of the mean loss over batches.

        Args:
            batches: the rows of this process.
            counted: number of targets in all batches of all processes.

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

    def _backward(self, batches: Sequence[Batch], counted: int) -> list[Tensor]:
        losses: list[Tensor] = []
        # The engines take the mean of what the processes have, where the sum is wanted
        scale = self._ranks.size / counted
        for batch in batches:
            with self.autocast():
                loss = self._loss_sum(batch, fast=self.compiled) * scale
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach() / self._ranks.size)
        return self._ranks.sum(losses)

    def _loss_sum(self, batch: Batch, fast: bool) -> Tensor:
        flat = batch.targets.reshape(-1)
        kept = np.flatnonzero(flat != IGNORED)
        some = len(kept) < len(flat)
        return self._loss(
            self._to_device(batch.inputs),
            None if batch.segments is None else self._to_device(batch.segments),
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


def linear_cross_entropy(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Compute output layer and cross-entropy together, some rows at a time (chunked fused linear cross-entropy).

    Logits are by far the largest tensor of a small model; here they never exist all at once. The gradient is computed
    along with the loss, while the logits of some rows are in the cache (Hsu et al. 2024, arXiv:2410.10989). Under
    autocast the products are in its precision; the softmax is in fp32.

    Args:
        states: input of the output layer, [count, d_model].
        weight: weights of the output layer, [vocab_size, d_model].
        targets: token ids, [count].

    Returns:
        the summed negative log-likelihood of the targets in nats, an fp32 scalar.
    """
    device = states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled():
            loss: Tensor = _LinearCrossEntropy.apply(states, weight, targets, dtype)  # type: ignore[no-untyped-call]
            return loss
        loss = torch.zeros((), device=states.device)
        weight = weight.to(dtype)
        for start in range(0, len(states), _rows(weight)):
            some = slice(start, start + _rows(weight))
            loss += F.cross_entropy((states[some].to(dtype) @ weight.T).float(), targets[some], reduction="sum")
        return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        # Frozen embeddings need no gradient
        wanted = bool(ctx.needs_input_grad[1])
        narrow, factors = states.to(dtype), weight.to(dtype)
        loss = torch.zeros((), device=states.device)
        states_gradient = torch.empty_like(narrow)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        rows = _rows(weight)
        for start in range(0, len(narrow), rows):
            x, y = narrow[start : start + rows], targets[start : start + rows, None]
            logits = x @ factors.T
            probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
            likelihoods = probabilities.gather(1, y)
            if likelihoods.min() > _LEAST_LIKELIHOOD:
                loss -= likelihoods.log().sum()
            else:
                loss += F.cross_entropy(logits.float(), y[:, 0], reduction="sum")
            gradient = probabilities.scatter_(1, y, likelihoods - 1).to(dtype)
            torch.mm(gradient, factors, out=states_gradient[start : start + rows])
            if weight_gradient is not None:
                weight_gradient += gradient.T @ x
        ctx.save_for_backward(states_gradient, weight_gradient)
        ctx.dtypes = states.dtype, weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = gradients
        of_states, of_weight = (
            None if saved is None else (saved * scale).to(dtype)
            for saved, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return of_states, of_weight, None, None


def _rows(weight: Tensor) -> int:
    """Rows of which the logits are computed at once."""
    return max(1, _LOGITS // len(weight))

"""The optimizer: Muon on the matrices of the blocks and AdamW on the rest, or AdamW alone.

Only what is trained has a state. Adapters are AdamW's.

The updates of Muon (Jordan et al. 2024) are scaled to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so that
both use the same learning rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinylm.config import TrainConfig
from tinylm.run_folder import StageName
from tinylm.training.distributed import Ranks, part_like, whole
from tinylm.training.lora import is_adapter
from tinylm.training.model import LanguageModel
from tinylm.training.muon import BatchedMuon

_MOMENTS = ("exp_avg", "exp_avg_sq")  # the state of AdamW for each parameter, beside the step
_RATE_BESIDE_ADAPTERS = 0.1  # adapters need a higher learning rate than whole matrices


class Optimizer:
    """Muon and AdamW together. The state is a flat dictionary of tensors, which safetensors can store.

    Args:
        model: the model, on its device.
        config: optimizer, weight decay and precision.
        ranks: the processes that train together.
        stage: the stage whose weight decay is used.
    """

    def __init__(
        self, model: LanguageModel, config: TrainConfig, ranks: Ranks | None = None, stage: StageName = "pretrain"
    ) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        blocks = {id(p) for p in model.blocks.parameters()}
        adapters = [p for name, p in named if is_adapter(name)]
        plain = [p for name, p in named if not is_adapter(name)]
        matrices = [p for p in plain if p.ndim == 2 and id(p) in blocks]
        embeddings = [p for p in plain if p.ndim == 2 and id(p) not in blocks]
        vectors = [p for p in plain if p.ndim < 2]
        rate = _RATE_BESIDE_ADAPTERS if adapters else 1.0
        self._names: dict[Tensor, str] = {p: name for name, p in named}
        self._optimizers: list[torch.optim.Optimizer] = []
        decay = config.weight_decay
        if stage == "finetune" and config.finetune_weight_decay >= 0:
            decay = config.finetune_weight_decay
        adamw_groups = [
            {"params": embeddings, "weight_decay": decay, "rate": rate},
            {"params": vectors, "weight_decay": 0.0, "rate": rate},
            {"params": adapters, "weight_decay": 0.0},
        ]
        # On a GPU, one fused kernel instead of many small ones
        on_gpu = model.embedding.weight.device.type == "cuda"
        if config.optimizer == "muon" and matrices:
            dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
            self._optimizers.append(BatchedMuon(matrices, weight_decay=decay, dtype=dtype, ranks=ranks))
        else:
            adamw_groups.append({"params": matrices, "weight_decay": decay})
        self._optimizers.append(
            torch.optim.AdamW(adamw_groups, lr=1.0, betas=(0.9, 0.95), eps=1e-8, fused=on_gpu or None)
        )

    def step(self, learning_rate: float) -> None:
        """Apply the gradients and clear them."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group.get("rate", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return all state as whole tensors, by `<parameter>/<name>`; must be called in every process."""
        tensors: dict[str, Tensor] = {}
        for optimizer in self._optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    tensors[f"{self._names[parameter]}/{name}"] = whole(torch.as_tensor(value))
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError: the state is of another optimizer or model.
        """
        for optimizer in self._optimizers:
            expected = {"momentum_buffer"} if isinstance(optimizer, torch.optim.Muon) else {"step", *_MOMENTS}
            for group in optimizer.param_groups:
                fused = bool(group.get("fused"))  # then the step count is on the device too
                parameters: list[Tensor] = group["params"]
                for parameter in parameters:
                    prefix = f"{self._names[parameter]}/"
                    state = {
                        key.removeprefix(prefix): value.clone()
                        for key, value in tensors.items()
                        if key.startswith(prefix)
                    }
                    if set(state) != expected or any(v.shape != parameter.shape for v in state.values() if v.ndim):
                        raise ValueError(f"no state of this optimizer for {self._names[parameter]}")
                    optimizer.state[parameter] = {
                        name: part_like(value, parameter)
                        if value.ndim
                        else value.to(parameter.device if fused else value.device)
                        for name, value in state.items()
                    }

"""Which weights of a model are trained, and how its blocks are computed for that."""

from __future__ import annotations

from tinylm.config import TrainConfig
from tinylm.training.lora import add_adapters, is_adapter
from tinylm.training.model import LanguageModel


def prepare_model(model: LanguageModel, settings: TrainConfig) -> None:
    """Freeze, adapt and recompute as configured; adapters start with torch's random numbers.

    Args:
        model: a plain model, which is changed in place.
        settings: `freeze_embeddings` resolved.

    Raises:
        ConfigError: the rank of the adapters is too high for the model.
    """
    if settings.lora_rank:
        add_adapters(model, settings.lora_rank)
    if settings.freeze_embeddings == "on":
        for matrix in (model.embedding, model.output):
            matrix.weight.requires_grad_(False)
    model.recomputes_blocks = settings.gradient_checkpointing


def count_parameters(model: LanguageModel) -> tuple[int, int]:
    """Count the parameters of a model without its adapters, and those that are trained, adapters included."""
    named = list(model.named_parameters())
    return (
        sum(parameter.numel() for name, parameter in named if not is_adapter(name)),
        sum(parameter.numel() for _, parameter in named if parameter.requires_grad),
    )

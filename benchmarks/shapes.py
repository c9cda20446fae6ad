"""The shapes that are measured, with random weights: S, M and L."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm.config import ModelConfig


@dataclass(frozen=True)
class Shape:
    """A size of model.

    Attributes:
        config: ours, with two feed-forward matrices.
        llama_feedforward: the width between llama's three; two of 1.5 times that width hold as many weights.
    """

    config: ModelConfig
    llama_feedforward: int

    @property
    def weights_per_token(self) -> int:
        """Matrix elements that one token is multiplied with: all but the embedding table."""
        config = self.config
        attention = 4 * config.d_model**2
        feedforward = 2 * config.d_model * config.dim_feedforward
        return config.num_layers * (attention + feedforward) + config.d_model * config.vocab_size


def _shape(width: int, layers: int, heads: int, vocabulary: int, llama_feedforward: int) -> Shape:
    config = ModelConfig(
        d_model=width,
        num_layers=layers,
        nhead=heads,
        dim_feedforward=llama_feedforward * 3 // 2,
        vocab_size=vocabulary,
        context_length=1024,
        tie_embeddings=False,
    )
    return Shape(config, llama_feedforward)


SHAPES = {
    "S": _shape(288, 6, 6, 4096, 768),
    "M": _shape(512, 8, 8, 4096, 1376),
    "L": _shape(768, 12, 12, 8192, 2048),
}

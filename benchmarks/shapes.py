"""The shapes that are measured, with random weights: S, M and L."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm.config import ModelConfig

_Q8_0_BLOCK, _Q8_0_BYTES = 32, 34  # weights with one scale, and their bytes with it


@dataclass(frozen=True)
class Shape:
    """A size of model.

    Attributes:
        config: ours.
        llama_feedforward: the width between the three feed-forward matrices of llama's, which is as wide otherwise.
    """

    config: ModelConfig
    llama_feedforward: int

    @property
    def weights_per_token(self) -> int:
        """Matrix elements that one token is multiplied with: all but the embedding table."""
        return self.config.block_weights + self.config.d_model * self.config.vocab_size

    @property
    def llama_weights_per_token(self) -> int:
        """The same of llama."""
        config = self.config
        ours = config.feedforward_matrices * config.dim_feedforward
        return self.weights_per_token + config.num_layers * config.d_model * (3 * self.llama_feedforward - ours)


def _shape(width: int, layers: int, heads: int, vocabulary: int, feedforward: int, llama_feedforward: int) -> Shape:
    config = ModelConfig(
        d_model=width,
        num_layers=layers,
        nhead=heads,
        dim_feedforward=feedforward,
        vocab_size=vocabulary,
        context_length=1024,
        tie_embeddings=False,
    )
    return Shape(config, llama_feedforward)


def like_llama(config: ModelConfig) -> Shape:
    """A shape of ours, and llama's with the widest feed-forward with which a token reads no more bytes in Q8_0."""
    ours = 4 * config.d_model + 2 * config.dim_feedforward
    units = (config.num_layers * ours + config.vocab_size) * _Q8_0_BLOCK / _Q8_0_BYTES - config.vocab_size
    width = (units / config.num_layers - 4 * config.d_model) / 3
    return Shape(config, int(width) // _Q8_0_BLOCK * _Q8_0_BLOCK)


# Ours are so wide that a token reads at least as many bytes in int8 as in llama's Q8_0, of 34 bytes for 32 weights
SHAPES = {
    "S": _shape(288, 6, 6, 4096, feedforward=1296, llama_feedforward=768),
    "M": _shape(512, 8, 8, 4096, feedforward=2304, llama_feedforward=1376),
    "L": _shape(768, 12, 12, 8192, feedforward=3392, llama_feedforward=2048),
}

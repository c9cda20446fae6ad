"""The shape of the model, validated."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_WIDTHS = (16, 16_384)  # the least and the greatest d_model
_LLAMA_ONLY = (
    "head_size",
    "rope_base",
    "rope_scaling",
    "rope_factor",
    "rope_low_freq_factor",
    "rope_high_freq_factor",
    "rope_original_context",
    "norm_epsilon",
    "qkv_bias",
    "qk_norm",
)


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of the decoder-only Transformer."""

    arch: Annotated[
        Literal["classic", "modern", "llama"],
        Meta(
            description="classic: sinusoidal positions, LayerNorm, GELU, biases. "
            "modern: RoPE, RMSNorm, QK-norm, squared ReLU, token shift, no biases. "
            "llama: RoPE, RMSNorm, SwiGLU, as Llama, Qwen2 and Qwen3; runs in llama.cpp and transformers too."
        ),
    ] = "classic"
    vocab_size: Annotated[
        int,
        Meta(ge=264, le=262_144, description="Tokens in the vocabulary; lowered where the data cannot fill it."),
    ] = 4096
    d_model: Annotated[int, Meta(ge=_WIDTHS[0], le=_WIDTHS[1], description="Width of the residual stream.")] = 256
    nhead: Annotated[int, Meta(ge=1, le=256, description="Attention heads.")] = 4
    num_kv_heads: Annotated[
        int,
        Meta(ge=0, le=256, description="Key/value heads (modern and llama); 0: as many as nhead."),
    ] = 0
    num_layers: Annotated[int, Meta(ge=1, le=256, description="Transformer blocks.")] = 6
    dim_feedforward: Annotated[int, Meta(ge=16, le=65_536, description="Width inside the feed-forward.")] = 1024
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0, description="Dropout probability in training.")] = 0.0
    context_length: Annotated[int, Meta(ge=16, le=65_536, description="Tokens that the model sees at once.")] = 256
    tie_embeddings: Annotated[bool, Meta(description="Output layer and token embedding share one matrix.")] = True
    token_shift: Annotated[
        bool, Meta(description="Each token's embedding gets a learned share of the one before it (modern only).")
    ] = True
    head_size: Annotated[
        int, Meta(ge=0, le=1024, description="Width of an attention head (llama only); 0: d_model / nhead.")
    ] = 0
    rope_base: Annotated[
        float, Meta(ge=1, le=1e9, description="Base of the rotary frequencies, theta (llama only).")
    ] = 10_000.0
    rope_scaling: Annotated[
        Literal["none", "linear", "llama3"],
        Meta(description="Lower rotary frequencies, for a longer context (llama only). llama3: as Llama 3.1 does."),
    ] = "none"
    rope_factor: Annotated[float, Meta(ge=1, le=1e6, description="By how much rope_scaling lowers them.")] = 1.0
    rope_low_freq_factor: Annotated[
        float, Meta(gt=0, le=1e6, description="llama3: turns in rope_original_context up to which all is lowered.")
    ] = 1.0
    rope_high_freq_factor: Annotated[
        float, Meta(gt=0, le=1e6, description="llama3: turns from which nothing is lowered.")
    ] = 4.0
    rope_original_context: Annotated[
        int, Meta(ge=0, le=2**30, description="llama3: context before it was made longer. 0: context_length.")
    ] = 0
    norm_epsilon: Annotated[
        float, Meta(gt=0, le=1, description="Added to the mean square by normalizations (llama only).")
    ] = 1e-5
    qkv_bias: Annotated[bool, Meta(description="Biases of queries, keys and values (llama only), as in Qwen2.")] = False
    qk_norm: Annotated[bool, Meta(description="RMSNorm of queries and keys (llama only), as in Qwen3.")] = False

    def __post_init__(self) -> None:
        self._check_llama_options()
        if not self.head_size and self.d_model % self.nhead:
            raise ValueError(
                f"d_model ({self.d_model}) must be divisible by nhead ({self.nhead}); "
                f"try {_possible_heads(self.d_model, self.nhead, self._head_unit)}"
            )
        if self.head_size % self._head_unit:
            raise ValueError(f"head_size ({self.head_size}) must be a multiple of {self._head_unit}")
        if self.head_dim % self._head_unit:
            raise ValueError(
                f"d_model / nhead is {self.head_dim}, but must be a multiple of {self._head_unit} for the attention "
                f"kernel; try d_model = {_nearest_width(self.d_model, self.nhead, self._head_unit)}"
            )
        if self.arch == "classic" and self.num_kv_heads not in (0, self.nhead):
            raise ValueError('num_kv_heads other than nhead needs arch = "modern" or "llama"')
        if self.nhead % self.kv_heads:
            fitting = [d for d in range(1, self.nhead + 1) if self.nhead % d == 0]
            raise ValueError(
                f"nhead ({self.nhead}) must be divisible by num_kv_heads ({self.num_kv_heads}); "
                f"try num_kv_heads = {min(fitting, key=lambda d: abs(d - self.num_kv_heads))}"
            )

    def _check_llama_options(self) -> None:
        if self.arch != "llama":
            defaults = {field.name: field.default for field in msgspec.structs.fields(self)}
            for key in _LLAMA_ONLY:
                if getattr(self, key) != defaults[key]:
                    raise ValueError(f'{key} needs arch = "llama", and arch is "{self.arch}"')
        if self.qkv_bias and self.qk_norm:
            raise ValueError("qkv_bias (Qwen2) and qk_norm (Qwen3) do not go together; set one of them")
        if self.rope_scaling == "none" and self.rope_factor != 1:
            raise ValueError('rope_factor needs rope_scaling = "linear" or "llama3"')
        if self.rope_high_freq_factor <= self.rope_low_freq_factor:
            raise ValueError("rope_high_freq_factor must be greater than rope_low_freq_factor")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_size or self.d_model // self.nhead

    @property
    def _head_unit(self) -> int:
        # onnxruntime's attention wants whole vectors, and twice as wide ones where it also rotates them
        return 8 if self.arch == "classic" else 16

    @property
    def shifts_tokens(self) -> bool:
        """Whether the model has a token shift."""
        return self.arch == "modern" and self.token_shift

    @property
    def kv_heads(self) -> int:
        """Key/value heads, with the default filled in."""
        return self.num_kv_heads or self.nhead

    @property
    def feedforward_matrices(self) -> int:
        """Matrices of `d_model` x `dim_feedforward` in a block."""
        return 3 if self.arch == "llama" else 2

    @property
    def block_weights(self) -> int:
        """Number of weights of the matrices in all blocks."""
        attention = 2 * (self.nhead + self.kv_heads) * self.head_dim
        return self.num_layers * self.d_model * (attention + self.feedforward_matrices * self.dim_feedforward)


def _possible_heads(width: int, near: int, unit: int) -> str:
    heads = [d for d in range(1, min(width, 256) + 1) if width % (unit * d) == 0]
    if not heads:
        return f"d_model = {_nearest_width(width, near, unit)}"
    return f"nhead = {min(heads, key=lambda d: abs(d - near))}"


def _nearest_width(width: int, heads: int, unit: int) -> int:
    multiple = unit * heads
    least, most = -(-_WIDTHS[0] // multiple), _WIDTHS[1] // multiple
    return multiple * min(max(round(width / multiple), least), most)

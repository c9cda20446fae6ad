"""The model: a decoder-only Transformer in three architectures, classic, modern and llama.

classic: Vaswani et al. 2017 (arXiv:1706.03762) with sinusoidal positions, pre-layer-normalization (Xiong et al. 2020,
arXiv:2002.04745) and GELU. modern: rotary positions (Su et al. 2021, arXiv:2104.09864), RMSNorm, QK-norm, squared
ReLU (So et al. 2021, arXiv:2109.08668), a token shift (Peng et al. 2023, arXiv:2305.13048) of the embeddings, grouped
key/value heads and no biases. llama: rotary positions, RMSNorm, SwiGLU
(Shazeer 2020, arXiv:2002.05202) and grouped key/value heads, as in Llama (Touvron et al. 2023, arXiv:2302.13971); with
biases of queries, keys and values as in Qwen2, or QK-norm as in Qwen3.

Parameters of llama are those of Hugging Face's models, in the same layout. Packed ones are stacked along dimension 0:

    here                                   Hugging Face
    embedding.weight                       model.embed_tokens.weight
    blocks.N.attention_norm.weight         model.layers.N.input_layernorm.weight
    blocks.N.attention.qkv.weight, .bias   model.layers.N.self_attn.{q_proj,k_proj,v_proj}.weight, .bias
    blocks.N.attention.query_norm.weight   model.layers.N.self_attn.q_norm.weight
    blocks.N.attention.key_norm.weight     model.layers.N.self_attn.k_norm.weight
    blocks.N.attention.output.weight       model.layers.N.self_attn.o_proj.weight
    blocks.N.feedforward_norm.weight       model.layers.N.post_attention_layernorm.weight
    blocks.N.feedforward.up.weight         model.layers.N.mlp.{gate_proj,up_proj}.weight
    blocks.N.feedforward.down.weight       model.layers.N.mlp.down_proj.weight
    norm.weight                            model.norm.weight
    output.weight, unless tied             lm_head.weight
"""

from __future__ import annotations

import math

import msgspec
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tinylm.config import ModelConfig
from tinylm.training.dropout import Dropout, drop
from tinylm.training.kv_cache import KeyValueCache, LayerCache

_SINUSOID_BASE = 10_000.0
_PLAIN_ATTENTION_LENGTH = 512


def position_frequencies(width: int, base: float) -> Tensor:
    """Return the angle by which each pair of channels turns from token to token, in radians; fp64 [width / 2]."""
    return torch.exp(-math.log(base) * torch.arange(0, width, 2, dtype=torch.float64) / width)


def rotary_frequencies(config: ModelConfig) -> Tensor:
    """Return the frequencies of rotary positions with the configured scaling, in radians a token; fp32 [head_dim / 2].

    Linear scaling divides all by the factor (Chen et al. 2023, arXiv:2306.15595). That of Llama 3.1 divides those that
    turn less than `rope_low_freq_factor` times in the original context, leaves those that turn more than
    `rope_high_freq_factor` times, and interpolates between them.
    """
    frequencies = position_frequencies(config.head_dim, config.rope_base)
    lowered = frequencies / config.rope_factor
    if config.rope_scaling == "llama3":
        low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
        turns = (config.rope_original_context or config.context_length) * frequencies / (2 * math.pi)
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        lowered = torch.lerp(lowered, frequencies, kept)
    return lowered.float()


def sinusoid_parameters(d_model: int) -> tuple[Tensor, Tensor]:
    """Return frequency and phase of each channel of sin(position * frequency + phase); fp32 [d_model] each.

    Even channels are sines and odd ones cosines of the same angle, as in Vaswani et al. 2017, section 3.5.
    """
    frequency = position_frequencies(d_model, _SINUSOID_BASE).float().repeat_interleave(2)[:d_model]
    phase = (torch.arange(d_model) % 2).float() * (math.pi / 2)
    return frequency, phase


class RMSNorm(nn.RMSNorm):
    """Root-mean-square normalization (Zhang and Sennrich 2019, arXiv:1910.07467), computed in the input's precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [..., width]."""
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal multi-head self-attention with one packed projection for queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.arch == "classic"
        self.heads, self.kv_heads, self.head_dim = config.nhead, config.kv_heads, config.head_dim
        width = self.heads * self.head_dim
        self.dropout = config.dropout
        self.qkv = nn.Linear(
            config.d_model, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=bias or config.qkv_bias
        )
        self.output = nn.Linear(width, config.d_model, bias=bias)
        self.query_norm = self.key_norm = None
        if config.arch == "modern" or config.qk_norm:
            self.query_norm = RMSNorm(self.head_dim, eps=config.norm_epsilon)
            self.key_norm = RMSNorm(self.head_dim, eps=config.norm_epsilon)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: [batch, length, d_model].
            rotation: cosines and sines, each [length, head_dim / 2], or None without rotary positions.
            mask: see `causal_attention`.
            cache: of the tokens before; these ones are added to it.

        Returns:
            [batch, length, d_model].
        """
        batch, length, _ = x.shape
        query, key, value = (
            self.qkv(x)
            .view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim)
            .transpose(1, 2)
            .split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        )
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        # The attention kernel needs one precision, also where autocast normalizes in fp32
        query, key = query.to(value.dtype), key.to(value.dtype)
        if cache is not None:
            key, value = cache.append(key, value)
        mixed = causal_attention(query, key, value, self.dropout if self.training else 0.0, mask)
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, -1))
        return output


class FeedForward(nn.Module):
    """Two linear layers with a GELU (classic), a squared ReLU (modern) or a SiLU-gated product (llama) between them.

    The gated product multiplies the second half of the first layer's outputs with the SiLU of the first half.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.arch == "classic"
        self.arch = config.arch
        self.up = nn.Linear(config.d_model, (config.feedforward_matrices - 1) * config.dim_feedforward, bias=bias)
        self.down = nn.Linear(config.dim_feedforward, config.d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, d_model] in and out."""
        hidden = self.up(x)
        if self.arch == "classic":
            hidden = F.gelu(hidden)
        elif self.arch == "modern":
            hidden = F.relu(hidden).square()
        else:
            gate, hidden = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * hidden
        output: Tensor = self.down(hidden)
        return output


class Block(nn.Module):
    """Attention and feed-forward, each with pre-normalization and a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.feedforward_norm = make_norm(config)
        self.feedforward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """[batch, length, d_model] in and out; see `Attention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, mask, cache))
        update: Tensor = self.dropout(self.feedforward(self.feedforward_norm(x)))
        return x + update


class TokenShift(nn.Module):
    """Add a learned share of the token before, channel by channel. What has none before it takes itself.

    With it, the first layer already knows pairs of tokens, and a model learns to copy in a third of the steps
    (docs/experiments.md).
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((d_model,), 0.1))

    def forward(self, x: Tensor, segments: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        """Shift.

        Args:
            x: embeddings, [batch, length, d_model].
            segments: as in `LanguageModel.hidden`.
            previous: the embedding before the first one, [batch, 1, d_model]; None where there is none.

        Returns:
            [batch, length, d_model].
        """
        before = torch.cat((x[:, :1] if previous is None else previous, x[:, :-1]), dim=1)
        if segments is not None:
            opens = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0))
            before = torch.where(opens[:, :, None], x, before)
        return x + self.share * before


class LanguageModel(nn.Module):
    """The language model: from token ids to logits of the next token.

    Attributes:
        recomputes_blocks: whether a backward pass computes each block again from its input, instead of keeping what is
            inside (gradient checkpointing, Chen et al. 2016, arXiv:1604.06174). A third more work for less memory.
    """

    recomputes_blocks = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.shift = TokenShift(config.d_model) if config.shifts_tokens else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = make_norm(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.embedding.weight
        positions = torch.arange(config.context_length, dtype=torch.float32)[:, None]
        if config.arch == "classic":
            frequency, phase = sinusoid_parameters(config.d_model)
            self.register_buffer("sinusoids", torch.sin(positions * frequency + phase), persistent=False)
        else:
            angles = positions * rotary_frequencies(config)
            self.register_buffer("cosines", angles.cos(), persistent=False)
            self.register_buffer("sines", angles.sin(), persistent=False)
        self._initialize()

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits [batch, length, vocab_size] of ids [batch, length]; length is at most `context_length`."""
        logits: Tensor = self.output(self.hidden(ids))
        return logits

    def hidden(self, ids: Tensor, segments: Tensor | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """Compute the input of the output layer, [batch, length, d_model].

        Args:
            ids: [batch, length].
            segments: number of the document of each id, [batch, length], rising along a row. Each document is computed
                as if it stood alone. None: one document a row.
            cache: of the tokens before these, which are added to it; None: there are none before.
        """
        start = cache.length if cache is not None else 0
        positions = slice(start, start + ids.shape[1])
        mask = None if segments is None else (segments[:, :, None] == segments[:, None, :]).tril()
        x = self._embed(ids, segments, cache)
        rotation = None
        if self.config.arch == "classic":
            # In a document: how many of its ids are before each one
            x = x + self.get_buffer("sinusoids")[positions if mask is None else mask.sum(dim=-1) - 1]
        else:  # rotary positions are relative
            rotation = self.get_buffer("cosines")[positions], self.get_buffer("sines")[positions]
        x = self.dropout(x)
        if x.is_cuda and torch.is_autocast_enabled("cuda"):
            # A GPU's blocks are limited by memory: a residual stream in half precision makes a step some 3 % faster
            x = x.to(torch.get_autocast_dtype("cuda"))
        for number, block in enumerate(self.blocks):
            if self.recomputes_blocks and torch.is_grad_enabled():
                x = checkpoint(block, x, rotation, mask, use_reentrant=False)
            else:
                x = block(x, rotation, mask, cache.layers[number] if cache is not None else None)
        hidden: Tensor = self.norm(x)
        return hidden

    def _embed(self, ids: Tensor, segments: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        """The scaled embeddings, shifted if the model does that; see `hidden`."""
        before = cache.ids[:, -1:] if cache is not None and cache.ids is not None and cache.length else None
        if cache is not None:
            cache.add_ids(ids)
        x: Tensor = self.embedding(ids) * self.embedding_scale
        if self.shift is None:
            return x
        previous = None if before is None else self.embedding(before) * self.embedding_scale
        shifted: Tensor = self.shift(x, segments, previous)
        return shifted

    @property
    def embedding_scale(self) -> float:
        """Factor of the token embedding (Vaswani et al. 2017, section 3.4); llama has none."""
        return 1.0 if self.config.arch == "llama" else math.sqrt(self.config.d_model)

    def _initialize(self) -> None:
        # Small, so that a tied output layer does not begin by predicting its input token
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            for linear in (block.attention.qkv, block.feedforward.up):
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            # The two outputs of a block start small, so that the scale of the residual stream does not grow with depth;
            # in llama at zero, as beside them its embedding, which has no factor, would be lost
            factor = 0.0 if self.config.arch == "llama" else 1 / math.sqrt(2 * self.config.num_layers)
            for linear in (block.attention.output, block.feedforward.down):
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5 * factor)
        for name, parameter in self.named_parameters():
            if name.endswith(("qkv.bias", "output.bias", "up.bias", "down.bias")):
                nn.init.zeros_(parameter)
        if not self.config.tie_embeddings:
            nn.init.normal_(self.output.weight, std=0.02)


def shorten_context(model: LanguageModel, length: int) -> None:
    """Let a model see at most `length` tokens, fewer than until now, at the positions that it was trained on."""
    config = model.config
    original = config.rope_original_context
    if config.rope_scaling == "llama3":
        original = original or config.context_length
    model.config = msgspec.structs.replace(config, context_length=length, rope_original_context=original)
    for name, buffer in model.named_buffers():
        setattr(model, name, buffer[:length].clone())


def make_norm(config: ModelConfig) -> nn.Module:
    """Create the normalization of the residual stream: LayerNorm (classic) or RMSNorm."""
    kind = nn.LayerNorm if config.arch == "classic" else RMSNorm
    return kind(config.d_model, eps=config.norm_epsilon)


def attends_plainly(bf16: bool, length: int, dropout: float) -> bool:
    """Whether training on a CPU computes attention by plain matrix products, which keep the weights of all positions.

    In bf16, PyTorch's fused kernel takes twice as long as they at these lengths; it has no dropout there.

    Args:
        bf16: whether that is the precision.
        length: number of tokens.
        dropout: probability that an attention weight is dropped.
    """
    return bool(dropout) or (bf16 and length <= _PLAIN_ATTENTION_LENGTH)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, dropout: float, mask: Tensor | None = None) -> Tensor:
    """Compute causal scaled dot-product attention.

    Args:
        query: [batch, heads, length, head_dim].
        key: [batch, kv_heads, length, head_dim], or more tokens before those of the query; kv_heads divides heads.
        value: like key.
        dropout: probability that an attention weight is dropped.
        mask: which positions each one attends to, bool [batch, length, length]; None: itself and all before it.

    Returns:
        [batch, heads, length, head_dim].
    """
    heads, length = query.shape[1:3]
    before = key.shape[2] - length
    if before:
        allowed = torch.ones(length, before + length, dtype=torch.bool, device=query.device).tril(before)
        return F.scaled_dot_product_attention(query, key, value, allowed, enable_gqa=key.shape[1] != heads)
    if query.device.type != "cpu" or not attends_plainly(query.dtype == torch.bfloat16, length, dropout):
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None else mask[:, None],
            dropout_p=dropout,
            is_causal=mask is None,
            enable_gqa=key.shape[1] != heads,
        )
    if key.shape[1] != heads:
        key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
    if mask is None:
        hidden = torch.full((length, length), -math.inf, dtype=query.dtype).triu(1)
    else:
        hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -math.inf)
        hidden = hidden.repeat_interleave(heads, dim=0)
    scores = torch.baddbmm(
        hidden, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=query.shape[-1] ** -0.5
    )
    weights = drop(torch.softmax(scores, dim=-1, dtype=query.dtype), dropout)
    return torch.bmm(weights, value.flatten(0, 1)).view_as(query)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Apply rotary positions to x [batch, heads, length, head_dim]; channel i is paired with i + head_dim / 2."""
    # On whole rows: with split halves, a compiled kernel would compute both halves for each element
    partners = x.roll(x.shape[-1] // 2, dims=-1)
    rotated = x * torch.cat((cosines, cosines), dim=-1) + partners * torch.cat((-sines, sines), dim=-1)
    return rotated.to(x.dtype)

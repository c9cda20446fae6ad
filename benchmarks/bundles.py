"""Whole bundles with random weights, which `tinylm chat` opens and which talk without end."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import torch
from graphs import random_model, write_graphs

import tinylm
from tinylm.chat_format import CHAT_FORMAT_VERSION
from tinylm.config import ModelConfig, TokenizerConfig
from tinylm.errors import TinyLMError
from tinylm.evaluation import Window, byte_lengths_of
from tinylm.export.builder import MICROSOFT, OPSET
from tinylm.export.bundle import GOLDEN_TEXTS, GOLDEN_TOKENS, LEAST_ONNXRUNTIME, measure_speed
from tinylm.export.decoders import write_mapped
from tinylm.export.gate import run_gate
from tinylm.files import sha256_of
from tinylm.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    SCHEMA_VERSION,
    FileEntry,
    GateFigures,
    Golden,
    GraphInfo,
    Manifest,
    Provenance,
    SamplingDefaults,
    encode_manifest,
)
from tinylm.runtime.chat_model import special_tokens
from tinylm.runtime.session import Session, decode_file
from tinylm.runtime.verification import golden_prompt, greedy_continuation
from tinylm.tokenizer import Tokenizer, train_tokenizer
from tinylm.training.model import LanguageModel

_SYLLABLES = [first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "r", "s")]
_GATE_TOKENS = 64
_GOLDEN_GAP = 0.1


def write_bundle(folder: Path, config: ModelConfig) -> None:
    """Write a bundle in int8 that chats in words of no language.

    Args:
        folder: to be made.
        config: the model's shape: classic, embeddings untied.

    Raises:
        TinyLMError: the words do not fill such a vocabulary.
    """
    tokenizer = made_up_tokenizer(config.vocab_size)
    model = random_model(config)
    never_say(model, tokenizer.eos_id)
    decode = write_graphs(folder, model, "int8")
    (folder / "tokenizer.model").write_bytes(tokenizer.serialized())
    manifest = _manifest(folder, model, tokenizer, decode, write_mapped(folder))
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def made_up_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer of exactly so many pieces, trained on words of random syllables.

    Raises:
        TinyLMError: the words do not fill it.
    """
    dice = random.Random(0)
    words = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(2 * vocab_size)]
    lines = (" ".join(dice.choices(words, k=12)) for _ in range(vocab_size))
    tokenizer = train_tokenizer(lines, vocab_size, TokenizerConfig())
    if tokenizer.vocab_size != vocab_size:
        raise TinyLMError(f"the words fill a vocabulary of {tokenizer.vocab_size:,}, not of {vocab_size:,}")
    return tokenizer


def never_say(model: LanguageModel, token: int) -> None:
    """Push a token's logit far below all others, without a single operation more.

    LayerNorm's output sums to zero over the channels. With an equal bias on each, the sum is the same number at every
    position, and a row of equal weights turns that into the token's logit.
    """
    with torch.no_grad():
        model.norm.get_parameter("bias").fill_(0.25)
        model.output.weight[token] = -1.0


def _manifest(
    folder: Path, model: LanguageModel, tokenizer: Tokenizer, decode: dict[str, str], mapped: str
) -> Manifest:
    name = decode_file(decode)
    session = Session(folder / (mapped or MODEL_FILE), model.config, decode=folder / name if name else None)
    nodes = onnx.load(folder / MODEL_FILE).graph.node
    return Manifest(
        schema_version=SCHEMA_VERSION,
        tinylm_version=tinylm.__version__,
        model=model.config,
        chat=True,
        chat_format_version=CHAT_FORMAT_VERSION,
        special_tokens=special_tokens(tokenizer),
        graph=GraphInfo(
            precision="int8",
            opset=OPSET,
            contrib_operators=sorted({node.op_type for node in nodes if node.domain == MICROSOFT}),
            least_onnxruntime=LEAST_ONNXRUNTIME,
            decode=decode,
            mapped=mapped,
        ),
        sampling=SamplingDefaults(),
        files={
            path.name: FileEntry(size=path.stat().st_size, sha256=sha256_of(path)) for path in sorted(folder.iterdir())
        },
        golden=_golden(session, tokenizer),
        gate=_gate(model, session, tokenizer),
        provenance=Provenance(
            data={},
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            steps={},
            training_seconds=0.0,
            training_tokens=0,
            speed=measure_speed(session),
            packages={},
        ),
    )


def _golden(session: Session, tokenizer: Tokenizer) -> Golden:
    text = GOLDEN_TEXTS[0]
    golden = Golden(conversation=[{"role": "user", "content": text}], text=text, ids=[], continuation=[])
    ids = golden_prompt(tokenizer, golden, session.context_length)
    continuation = greedy_continuation(session, tokenizer, ids, GOLDEN_TOKENS, _GOLDEN_GAP)
    return Golden(conversation=golden.conversation, text=text, ids=ids, continuation=continuation)


def _gate(model: LanguageModel, session: Session, tokenizer: Tokenizer) -> GateFigures:
    """The gate on a few tokens; the bundle's graph stands for an fp32 graph, too."""
    ids = np.random.default_rng(0).integers(tokenizer.vocab_size, size=(2, _GATE_TOKENS + 1))
    ids[np.isin(ids, [*tokenizer.never_sampled, tokenizer.eos_id])] = tokenizer.vocab_size - 1
    windows = [Window(part[:-1], part[1:]) for part in ids]
    return run_gate(model, session, [session], windows, 0, byte_lengths_of(tokenizer))[0]

"""The models that are looked at on every CPU, the text that they are scored on, and what they must say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.cpus.comparison import Pair
from benchmarks.cpus.probe import GoldenText, Subject
from benchmarks.graphs import random_model, write_graphs
from benchmarks.shapes import SHAPES, like_llama
from tinylm.data.dataset.sequences import read_sequences
from tinylm.data.dataset.tokens import tokenize_all
from tinylm.data.world import training_documents
from tinylm.errors import TinyLMError
from tinylm.evaluation import TokenSequences
from tinylm.manifest import ANY_CPU, DECODE_FILES, MODEL_FILE, read_manifest
from tinylm.run_folder import RunFolder, StageName
from tinylm.runtime.chat_model import DEMO_BUNDLE
from tinylm.runtime.session import open_bundle
from tinylm.runtime.verification import greedy_continuation
from tinylm.tokenizer import Tokenizer, load_tokenizer

GOLDEN_TOKENS = 64
TRAINING_STEPS = 250
_STAGES: tuple[StageName, ...] = ("pretrain", "finetune")
_CONFIG = Path(__file__).parents[2] / "data" / "world" / "demo.toml"
_FRESH_DOCUMENTS, _FRESH_SEED = 400, 1
_PROMPT_TOKENS = 16
_CANDIDATES = 200


def bundle_subject(name: str, bundle: Path, data: Path | None, work: Path) -> Subject:
    """A bundle as it is.

    Args:
        name: of the subject.
        bundle: its folder.
        data: text to score it on; None: fresh documents of the bundled world.
        work: a folder for the text as token ids.

    Raises:
        TinyLMError: the bundle or the text is not fit for it.
    """
    read_manifest(bundle)  # says best what is wrong with a folder that is no bundle
    tokenizer = load_tokenizer(bundle / "tokenizer.model")
    return _subject(name, bundle, None, held_out_text(tokenizer, data), work)


def run_subject(name: str, run: Path, data: Path | None, work: Path) -> Subject:
    """A run, exported as int8 and as fp32.

    Args:
        name: of the subject.
        run: its folder.
        data: text to score it on; None: what the run held out, documents rather than conversations.
        work: a folder for the bundles and for the text as token ids.

    Raises:
        TinyLMError: the run or the text is not fit for it.
    """
    int8, fp32 = work / f"{name}-int8", work / f"{name}-fp32"
    run_tinylm("export", run, "--quantize", "--out", int8)
    run_tinylm("export", run, "--out", fp32)
    held_out = next((path for path in map(RunFolder(run).held_out, _STAGES) if path.is_file()), None)
    if data is None and held_out is not None:
        text = TokenSequences.load(held_out)
    else:
        text = held_out_text(load_tokenizer(int8 / "tokenizer.model"), data)
    return _subject(name, int8, fp32, text, work)


def train_run(work: Path) -> Path:
    """A small model of the bundled world's documents, trained in a minute or two."""
    run_tinylm("data", "world", work / "world")
    documents = work / "world" / "world.txt"
    run_tinylm("train", "--config", _CONFIG, "--steps", TRAINING_STEPS, "--pretrain", documents, "--out", work / "run")
    return work / "run"


def run_tinylm(*arguments: object) -> None:
    """Run a command of TinyLM, with what it has to say on stderr.

    Raises:
        TinyLMError: it failed.
    """
    command = [sys.executable, "-m", "tinylm", *map(str, arguments)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise TinyLMError(f"`tinylm {' '.join(command[3:])}` failed; its message is above")


def held_out_text(tokenizer: Tokenizer, data: Path | None) -> TokenSequences:
    """A file's text, or fresh documents of the bundled world, as token ids."""
    if data is not None:
        return read_sequences(data, tokenizer)
    return tokenize_all(training_documents(_FRESH_DOCUMENTS, _FRESH_SEED), tokenizer)


def golden_texts(bundle: Path, text: TokenSequences) -> list[GoldenText]:
    """Prompts from a text whose greedy continuations no CPU can mistake, longest first, `GOLDEN_TOKENS` together.

    Each continuation ends before a token whose logit is not further above the second best than int8's logits were
    from torch's, at most, when the bundle was exported.

    Raises:
        TinyLMError: there are not so many tokens.
    """
    manifest = read_manifest(bundle)
    tokenizer = load_tokenizer(bundle / "tokenizer.model")
    session = open_bundle(bundle, manifest, threads=1)
    least_gap = manifest.gate.logit_difference
    candidates = []
    for prompt in _prompts(text, tokenizer.bos_id, manifest.model.context_length):
        continuation = greedy_continuation(session, tokenizer, prompt, GOLDEN_TOKENS, least_gap)
        candidates.append(GoldenText(prompt, continuation))
    candidates.sort(key=lambda golden: -len(golden.continuation))
    chosen: list[GoldenText] = []
    missing = GOLDEN_TOKENS
    while missing and candidates and candidates[0].continuation:
        golden = candidates.pop(0)
        chosen.append(GoldenText(golden.prompt, golden.continuation[:missing]))
        missing -= len(chosen[-1].continuation)
    if missing:
        raise TinyLMError(
            f"{bundle}: only {GOLDEN_TOKENS - missing} tokens of {GOLDEN_TOKENS} follow with a logit more than "
            f"{least_gap:.2g} above the second best; give more text of its kind with --data FILE"
        )
    return chosen


def model_pairs(work: Path) -> list[Pair]:
    """Models beside llama.cpp's, of random weights: shape S, whose graphs `decode_graphs` wrote, and the demo's shape.

    Raises:
        TinyLMError: the package that writes llama.cpp's files is missing.
    """
    try:
        from benchmarks.peers.gguf_file import write_gguf
    except ImportError:
        raise TinyLMError("--llama-cpp needs the package gguf: `pip install gguf`") from None
    demo = like_llama(read_manifest(DEMO_BUNDLE).model)
    models = [("S", SHAPES["S"], work / "shape-S-int8"), ("demo", demo, DEMO_BUNDLE)]
    found = [Pair(name, shape, folder, work / f"{name}.gguf") for name, shape, folder in models]
    for pair in found:
        write_gguf(pair.gguf, pair.shape, "Q8_0")
    return found


def decode_graphs(work: Path) -> dict[str, str]:
    """Graphs of random weights at shape S: paths of those that decode, of the fp32 and of the int8 model."""
    folders = {precision: work / f"shape-S-{precision}" for precision in ("fp32", "int8")}
    for precision, folder in folders.items():
        write_graphs(folder, random_model(SHAPES["S"].config), precision)
    return {"fp32": str(folders["fp32"] / MODEL_FILE), "int8": str(folders["int8"] / DECODE_FILES[ANY_CPU])}


def _subject(name: str, bundle: Path, fp32: Path | None, text: TokenSequences, work: Path) -> Subject:
    path = work / f"{name}-text.npz"
    text.save(path)
    return Subject(
        name=name,
        bundle=str(bundle),
        fp32=None if fp32 is None else str(fp32),
        text=str(path),
        golden=golden_texts(bundle, text),
    )


def _prompts(text: TokenSequences, bos_id: int, context_length: int) -> Iterator[list[int]]:
    """Beginnings of some sequences: of a conversation, what comes before the first reply."""
    for start, end in list(text.spans())[:_CANDIDATES]:
        first_reply = int(np.argmax(text.supervised[start:end]))
        length = min(first_reply or _PROMPT_TOKENS, end - start, context_length // 2)
        yield [bos_id, *text.ids[start : start + length].tolist()]

"""The data of a stage of training: token ids on disk (shards), and batches of rows from them.

Files are read a second time to be tokenized, in bounded memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Example
from tinylm.config import Config
from tinylm.data.dataset.batches import Batches, Part, Rows
from tinylm.data.dataset.disk_cache import CacheEntry, DataCache, key_of
from tinylm.data.dataset.held_out import content_hash
from tinylm.data.dataset.packing import PackedConversations, PackedDocuments
from tinylm.data.dataset.survey import Notify, Survey, sentencepiece_version
from tinylm.data.dataset.tokens import TokenFile, id_type, tokenize, tokenize_all
from tinylm.errors import DataError
from tinylm.evaluation import TokenSequences
from tinylm.provenance import StageProvenance, TrainingFile
from tinylm.tokenizer import Tokenizer

# Increased when an example gives other tokens, or an entry of the cache holds other files
_FORMAT = 2
_TOKENS, _ENDS, _HELD_OUT = "tokens.bin", "ends.npy", "held_out.npz"


@dataclass(frozen=True)
class StageData:
    """The data of a stage.

    Attributes:
        batches: what it trains on.
        held_out: what it is validated on; may be empty.
        provenance: the files with their SHA-256, and counts.
        notes: counts of conversations, and of what did not fit the context.
    """

    batches: Batches
    held_out: TokenSequences
    provenance: StageProvenance
    notes: Mapping[str, int] = field(default_factory=dict)

    def with_replay(self, text: StageData, share: float) -> StageData:
        """Mix in rows of another stage.

        Args:
            text: the other stage.
            share: of its rows among all rows, below 1.
        """
        wanted = self.batches.rows_per_epoch * share / (1 - share)
        scale = wanted / text.batches.rows_per_epoch
        more = [Part(part.rows, max(1, round(part.per_epoch * scale))) for part in text.batches.parts]
        return replace(self, batches=Batches([*self.batches.parts, *more], self.batches.seed))


class Shards:
    """The token ids of a stage's files, from an entry of the cache.

    Attributes:
        tokens: of all training examples of all files, one after the other.
        ends: of each example in the tokens, int64.
        counts: training examples of each file.
        passages: number of conversations that were cut out of raw text, as fine-tuning holds them out.
        held_out: the held-out examples.
        fresh: whether the files were tokenized for it; else they were in the cache.
    """

    def __init__(self, entry: CacheEntry, fresh: bool) -> None:
        self.tokens = TokenFile(entry.path / _TOKENS, np.dtype(entry.facts["dtype"]))
        self.ends: NDArray[np.int64] = np.load(entry.path / _ENDS)
        self.counts: list[int] = entry.facts["counts"]
        self.passages: int = entry.facts["passages"]
        self.held_out = TokenSequences.load(entry.path / _HELD_OUT)
        self.fresh = fresh


def tokenize_files(survey: Survey, tokenizer: Tokenizer, cache: DataCache, threads: int) -> Shards:
    """Tokenize files into shards on disk, or find them in the cache.

    Args:
        survey: of the files.
        tokenizer: encodes the examples.
        cache: holds the shards.
        threads: that tokenize; the result does not depend on them.

    Raises:
        DataError: a file has changed since it was surveyed, or all of it is held out.
        TinyLMError: the shards cannot be written.
    """
    model = hashlib.sha256(tokenizer.serialized()).hexdigest()
    # TinyLM's own format follows from the model
    form = [] if tokenizer.chat_format.is_own else [msgspec.to_builtins(tokenizer.chat_format)]
    key = key_of("tokens", _FORMAT, survey.key, model, sentencepiece_version(), *form)
    entry = cache.find("tokens", key)
    fresh = entry is None
    if entry is None:
        entry = cache.make("tokens", key, lambda folder: _fill_shards(folder, survey, tokenizer, threads))
    return Shards(entry, fresh)


def prepare_stage(
    survey: Survey, shards: Shards, tokenizer: Tokenizer, config: Config, notify: Notify = lambda _: None
) -> StageData:
    """Pack a stage's shards into rows; files of one weight are packed together.

    Args:
        survey: of the files.
        shards: of the files.
        tokenizer: what encoded them.
        config: gives the context length and the seed.
        notify: receives lines that the user should read.

    Raises:
        DataError: no conversation has a reply that fits.
    """
    context, seed = config.model.context_length, config.train.seed
    pack = PackedDocuments if survey.stage == "pretrain" else PackedConversations
    parts: list[Part] = []
    notes: dict[str, int] = {}
    for weight in sorted({file.weight for file in survey.files}):
        chosen = np.repeat([file.weight == weight for file in survey.files], shards.counts)
        if not chosen.any():
            continue
        starts = np.concatenate((np.zeros(1, np.int64), shards.ends[:-1]))[chosen]
        try:
            rows: Rows = pack(shards.tokens, (starts, shards.ends[chosen]), tokenizer, context, seed)
        except ValueError as error:
            raise DataError(_names(survey, weight), None, f"{error}; try a longer model.context_length") from None
        parts.append(Part(rows, max(1, round(weight * len(rows)))))
        for kind, count in getattr(rows, "notes", {}).items():
            notes[kind] = notes.get(kind, 0) + count
    if shards.passages:
        notify(f"{shards.passages:,} passages are conversations that are held out for fine-tuning: left out here too")
    _report_cuts(notes, context, notify)
    return StageData(Batches(parts, seed), shards.held_out, _provenance(survey, shards), notes)


def _fill_shards(folder: Path, survey: Survey, tokenizer: Tokenizer, threads: int) -> dict[str, Any]:
    """Write the shards of a stage. A held-out example is kept once, also where several files have it."""
    held_out: dict[bytes, Example] = {}
    counts = [0] * len(survey.files)
    passages = 0
    lengths: list[NDArray[np.int64]] = []

    def training() -> Iterator[Example]:
        nonlocal passages
        for number, file in enumerate(survey.files):
            for example, is_held_out in survey.split.divide(survey.examples_of(file)):
                if is_held_out:
                    key = content_hash(example)
                    held_out[key] = example
                    passages += key not in survey.split.keys
                else:
                    counts[number] += 1
                    yield example

    with (folder / _TOKENS).open("wb") as file:
        for ids, sizes in tokenize(training(), tokenizer, threads):
            file.write(ids.tobytes())
            lengths.append(sizes)
    if not lengths:
        problem = "all of it is held out, as the same text is in the other stage; give it more"
        raise DataError(_names(survey), None, problem)
    np.save(folder / _ENDS, np.cumsum(np.concatenate(lengths), dtype=np.int64))
    tokenize_all(held_out.values(), tokenizer, threads).save(folder / _HELD_OUT)
    if survey.split.cut is not None:
        passages -= 1  # the held-out end of the only document
    return {"dtype": id_type(tokenizer).str, "counts": counts, "passages": max(0, passages)}


def _names(survey: Survey, weight: float | None = None) -> str:
    """The names of the files, or of those of one weight."""
    return ", ".join(Path(file.path).name for file in survey.files if weight in (None, file.weight))


def _provenance(survey: Survey, shards: Shards) -> StageProvenance:
    files = [
        TrainingFile(
            name=Path(file.path).name,
            bytes=file.bytes,
            sha256=file.sha256,
            # msgspec omits a default from the JSON only if it is the very same object
            **({} if file.weight == 1 else {"weight": file.weight}),
        )
        for file in survey.files
    ]
    return StageProvenance(files=files, examples=sum(shards.counts), held_out=len(shards.held_out))


def _report_cuts(notes: Mapping[str, int], context: int, notify: Notify) -> None:
    if notes.get("cut_between_turns"):
        notify(
            f"{notes['cut_between_turns']:,} of {notes['conversations']:,} conversations are longer than the context "
            f"of {context:,} tokens: they are cut between turns"
        )
    if notes.get("turns_truncated") or notes.get("parts_without_reply"):
        notify(
            f"{notes['turns_truncated']:,} turns are longer than the context and lose their end, "
            f"{notes['parts_without_reply']:,} parts have no reply in them and are left out"
        )

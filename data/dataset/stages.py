"""A stage of training from its survey: token shards on disk, and rows of them.

Files are read a second time to be tokenized; nothing of any size is held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Example
from tinylm.config import Config
from tinylm.data.dataset.batches import Batches, Part, Rows
from tinylm.data.dataset.disk_cache import DataCache, Entry, key_of
from tinylm.data.dataset.held_out import content_hash
from tinylm.data.dataset.packing import ConversationRows, DocumentRows
from tinylm.data.dataset.survey import Notify, Survey, sentencepiece_version
from tinylm.data.dataset.tokens import TokenFile, id_type, tokenize, tokenize_all
from tinylm.errors import DataError
from tinylm.evaluation import TokenSequences
from tinylm.provenance import StageProvenance, TrainingFile
from tinylm.tokenizer import Tokenizer

# Raised by whoever changes what tokens are made of an example
_FORMAT = 2
_TOKENS, _ENDS, _HELD_OUT = "tokens.bin", "ends.npy", "held_out.npz"


@dataclass(frozen=True)
class StageData:
    """What a stage trains on.

    Attributes:
        batches: the rows, mixed and shuffled.
        held_out: what it is measured on; there may be nothing.
        provenance: the files with their SHA-256, and counts.
        notes: what became of the data that did not fit the context, by kind.
    """

    batches: Batches
    held_out: TokenSequences
    provenance: StageProvenance
    notes: Mapping[str, int] = field(default_factory=dict)

    def with_replay(self, text: StageData, share: float) -> StageData:
        """The same with rows of another stage among them.

        Args:
            text: the other stage.
            share: of all rows that are its, below 1.
        """
        wanted = self.batches.rows_per_epoch * share / (1 - share)
        scale = wanted / text.batches.rows_per_epoch
        more = [Part(part.rows, max(1, round(part.per_epoch * scale))) for part in text.batches.parts]
        return replace(self, batches=Batches([*self.batches.parts, *more], self.batches.seed))


class Shards:
    """The token ids of a stage's files.

    Attributes:
        tokens: of all training examples of all files, one after the other.
        ends: where each example ends in them, int64.
        counts: training examples of each file.
        passages: conversations in raw text that are held out of fine-tuning and thus held out here.
        held_out: the others.
        fresh: whether they were made just now; else they are from the cache.
    """

    def __init__(self, entry: Entry, fresh: bool) -> None:
        self.tokens = TokenFile(entry.path / _TOKENS, np.dtype(entry.facts["dtype"]))
        self.ends: NDArray[np.int64] = np.load(entry.path / _ENDS)
        self.counts: list[int] = entry.facts["counts"]
        self.passages: int = entry.facts["passages"]
        self.held_out = TokenSequences.load(entry.path / _HELD_OUT)
        self.fresh = fresh


def tokenize_files(survey: Survey, tokenizer: Tokenizer, cache: DataCache, threads: int) -> Shards:
    """Tokenize files into shards on disk, or take those that are there.

    Args:
        survey: of the files.
        tokenizer: what to use.
        cache: where they may be, and go.
        threads: that tokenize; the result does not depend on them.

    Raises:
        DataError: a file is not what it was when it was surveyed.
        TinyLMError: they cannot be written.
    """
    model = hashlib.sha256(tokenizer.serialized()).hexdigest()
    key = key_of("tokens", _FORMAT, survey.key, model, sentencepiece_version())
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
        tokenizer: what made them.
        config: context, seed.
        notify: told what did not fit the context.

    Raises:
        DataError: no conversation has a reply that fits.
    """
    context, seed = config.model.context_length, config.train.seed
    pack = DocumentRows if survey.stage == "pretrain" else ConversationRows
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
            names = ", ".join(Path(file.path).name for file in survey.files if file.weight == weight)
            raise DataError(names, None, f"{error}; try a longer model.context_length") from None
        parts.append(Part(rows, max(1, round(weight * len(rows)))))
        for kind, count in getattr(rows, "notes", {}).items():
            notes[kind] = notes.get(kind, 0) + count
    if shards.passages:
        notify(f"{shards.passages:,} passages are conversations that are held out for fine-tuning: left out here too")
    _tell_of_cuts(notes, context, notify)
    return StageData(Batches(parts, seed), shards.held_out, _provenance(survey, shards), notes)


def _fill_shards(folder: Path, survey: Survey, tokenizer: Tokenizer, threads: int) -> dict[str, Any]:
    """Write the shards of a stage. One copy of what is held out is kept, whichever file it is in."""
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
        names = ", ".join(Path(file.path).name for file in survey.files)
        problem = "all of it is held out, as the same text is in the other stage; give it more"
        raise DataError(names, None, problem)
    np.save(folder / _ENDS, np.cumsum(np.concatenate(lengths), dtype=np.int64))
    tokenize_all(held_out.values(), tokenizer, threads).save(folder / _HELD_OUT)
    if survey.split.cut is not None:
        passages -= 1  # the end of the document
    return {"dtype": id_type(tokenizer).str, "counts": counts, "passages": max(0, passages)}


def _provenance(survey: Survey, shards: Shards) -> StageProvenance:
    files = [
        TrainingFile(
            name=Path(file.path).name,
            bytes=file.bytes,
            sha256=file.sha256,
            # Only the default itself is left out of the JSON
            **({} if file.weight == 1 else {"weight": file.weight}),
        )
        for file in survey.files
    ]
    return StageProvenance(files=files, examples=sum(shards.counts), held_out=len(shards.held_out))


def _tell_of_cuts(notes: Mapping[str, int], context: int, notify: Notify) -> None:
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

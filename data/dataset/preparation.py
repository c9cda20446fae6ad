"""From files and a configuration to the data of each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm.chat_format import texts_of
from tinylm.data.dataset.disk_cache import DataCache
from tinylm.data.dataset.stages import StageData, prepare_stage, tokenize_files
from tinylm.data.dataset.survey import Notify, Survey, TextSample, find_tokenizer, hold_out_together, survey_files
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.paths import find_files
from tinylm.errors import DataError, RunError
from tinylm.printable import command_line
from tinylm.provenance import read_provenance, write_provenance

if TYPE_CHECKING:
    from tinylm.config import Config
    from tinylm.run_folder import RunFolder, StageName
    from tinylm.tokenizer import Tokenizer


def _ignore(_: str) -> None:
    """Receive a line and do nothing."""


class Preparation:
    """The data of a run, prepared step by step: the constructor surveys the files, then `tokenizer`, then `stages`.

    Args:
        config: the files, and how much is held out.
        trains_tokenizer: whether a tokenizer will be trained; a sample for it is taken while files are read.
        inform: receives lines of information.
        warn: receives lines that the user should read, for example on data that was left out.

    Attributes:
        surveys: counts and hashes of the files of each stage.
        notes: the lines that `warn` received about the data of each stage.

    Raises:
        DataError: a file cannot be read as what it should be.
    """

    def __init__(
        self, config: Config, trains_tokenizer: bool, inform: Notify = _ignore, warn: Notify = _ignore
    ) -> None:
        self._inform, self._warn = inform, warn
        self._cache = DataCache(notify=warn)
        self.surveys: list[Survey] = []
        self.notes: dict[StageName, list[str]] = {"pretrain": [], "finetune": []}
        sample_bytes = int(config.tokenizer.max_sample_megabytes * 1e6)
        self._sample = TextSample(sample_bytes) if trains_tokenizer else None
        entries: dict[StageName, list[str]] = {"pretrain": config.data.pretrain, "finetune": config.data.finetune}
        files = {stage: find_files(named, self._noting(stage)) for stage, named in entries.items() if named}
        for stage, found in files.items():
            survey, was_read = survey_files(
                stage,
                found,
                config.data.validation_fraction,
                self._cache,
                sample=self._sample,
                options=ReadOptions.of(config.data),
                notify=self._noting(stage),
            )
            self.surveys.append(survey)
            if not was_read:
                # A sample of some of the files is none of all
                self._sample = None
        self.surveys = hold_out_together(self.surveys)

    @property
    def text_bytes(self) -> dict[StageName, float]:
        """UTF-8 bytes of text in an epoch of each stage."""
        return {survey.stage: survey.text_bytes for survey in self.surveys}

    @property
    def example_bytes(self) -> dict[StageName, float]:
        """Mean UTF-8 bytes of text of a document or conversation of each stage."""
        sizes: dict[StageName, float] = {}
        for survey in self.surveys:
            examples = sum(file.examples for file in survey.files)
            sizes[survey.stage] = sum(file.text_bytes for file in survey.files) / max(1, examples)
        return sizes

    @property
    def hashes(self) -> list[str]:
        """SHA-256 of every file."""
        return [file.sha256 for survey in self.surveys for file in survey.files]

    def training_texts(self) -> Iterator[str]:
        """Read the documents and messages of all stages that are not held out.

        Raises:
            DataError: a file has changed since it was surveyed.
        """
        for survey in self.surveys:
            for example, is_held_out in survey.split.divide(survey.examples()):
                if not is_held_out:
                    yield from texts_of(example)

    def tokenizer(self, config: Config) -> Tokenizer:
        """The tokenizer of this data.

        Raises:
            TinyLMError: there is no text to train it on.
        """
        tokenizer, was_trained = find_tokenizer(
            self.surveys,
            config.model.vocab_size,
            config.tokenizer,
            self._cache,
            sample=self._sample,
            notify=self._warn,
        )
        self._sample = None
        self._inform(
            f"Tokenizer: {tokenizer.vocab_size:,} pieces{'' if was_trained else ', as trained before on this data'}"
        )
        return tokenizer

    def stages(self, config: Config, tokenizer: Tokenizer) -> dict[StageName, StageData]:
        """What each stage trains on.

        Raises:
            DataError: no conversation has a reply that fits the context.
            TinyLMError: the shards cannot be written.
        """
        data: dict[StageName, StageData] = {}
        for survey in self.surveys:
            name = survey.stage
            shards = tokenize_files(survey, tokenizer, self._cache, config.train.threads)
            data[name] = prepare_stage(survey, shards, tokenizer, config, self._noting(name))
            kind = "documents" if name == "pretrain" else "conversations"
            self._inform(
                f"{name}: {data[name].provenance.examples:,} {kind}, {data[name].provenance.held_out:,} more held out"
                f"{'' if shards.fresh else '; tokenized before, nothing is tokenized again'}"
            )
        if config.data.replay and "finetune" in data:
            data["finetune"] = data["finetune"].with_replay(data["pretrain"], config.data.replay)
        return data

    def record(self, run: RunFolder, data: Mapping[StageName, StageData]) -> None:
        """Write into a run's folder what it is trained on, and what is held out.

        Raises:
            TinyLMError: it cannot be written.
        """
        write_provenance(run.provenance, {name: stage.provenance for name, stage in data.items()})
        for name, prepared in data.items():
            if len(prepared.held_out):
                prepared.held_out.save(run.held_out(name))

    def facts(self, config: Config, data: Mapping[StageName, StageData]) -> dict[str, dict[str, object]]:
        """Of each stage, for the log: tokens, and what the user was told."""
        return {
            name: {
                "tokens": prepared.batches.rows_per_epoch * config.model.context_length,
                "held_out_tokens": int(prepared.held_out.supervised.sum()),
                "notes": self.notes[name],
            }
            for name, prepared in data.items()
        }

    def check_unchanged(self, run: RunFolder) -> None:
        """See that the files are those that a run began with.

        Raises:
            DataError: a file has another content.
            RunError: there are more or fewer files, or the run's record of them cannot be read.
        """
        start_anew = f"start anew with {command_line('--init', run.path)}"
        try:
            recorded = read_provenance(run.provenance)
        except RunError as error:
            raise RunError(f"{error}; {start_anew}") from None
        hashes = {stage: [file.sha256 for file in trained.files] for stage, trained in recorded.items()}
        way_out = f"put it back, or {start_anew}"
        for survey in self.surveys:
            then = hashes.get(survey.stage, [])
            for before, file in zip(then, survey.files, strict=False):
                if before != file.sha256:
                    raise DataError(Path(file.path).name, None, f"changed since the run began; {way_out}")
            if len(then) != len(survey.files):
                counts = f"{len(survey.files):,} files now, {len(then):,} when the run began"
                raise RunError(f"{survey.stage}: {counts}; {way_out}")

    def _noting(self, stage: StageName) -> Callable[[str], None]:
        """Warn, and remember the line."""

        def note(message: str) -> None:
            self._warn(message)
            self.notes[stage].append(message)

        return note

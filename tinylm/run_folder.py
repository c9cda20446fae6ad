"""The run folder: paths of its files, and the state of its checkpoints. Without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tinylm.chat_format import ChatFormat
from tinylm.config import Config, ModelConfig, config_to_toml, load_config
from tinylm.errors import RunError
from tinylm.files import recover_folder, user_errors, write_file
from tinylm.manifest import TOKENIZER_FILES
from tinylm.printable import command_line
from tinylm.tokenizer import Tokenizer, load_tokenizer

STATE_SCHEMA_VERSION = 1
CheckpointName = Literal["best", "last"]
StageName = Literal["pretrain", "finetune"]
STAGE_TITLES: dict[StageName, str] = {"pretrain": "pre-training", "finetune": "fine-tuning"}


ChangeReason = Literal["planned", "time", "overfitting", "threads"]


class Schedule(msgspec.Struct, kw_only=True, frozen=True):
    """The schedule of a stage from a step on: number of steps, learning rate and threads.

    Attributes:
        step: the step after which this schedule is used.
        steps: number of steps of the whole stage.
        warmup: steps over which the learning rate rises.
        decay_start: the step after which the rate falls, linearly to zero at the end.
        decay_from: factor on the peak rate at `decay_start`.
        threads: CPU threads; 0 leaves them as they are.
        may_grow: whether a later schedule may have more steps if time is left.
        reason: why this schedule replaced the one before.
    """

    step: int = 0
    steps: int
    warmup: float
    decay_start: float
    decay_from: float = 1.0
    threads: int = 0
    may_grow: bool = True
    reason: ChangeReason = "planned"


class TrainState(msgspec.Struct, kw_only=True):
    """The state of a training run. With weights and optimizer state, a resumed run is equal bit for bit.

    Batches and dropout are functions of the seed, the stage and the step, so they have no state of their own.

    Attributes:
        plan: number of steps of each stage, by its current schedule.
        schedules: the schedules of each stage, in the order of their first steps. A resumed run uses those of later
            steps too, when it reaches them, and so repeats the changes of the earlier process.
        seconds_left: the time budget left of each unfinished stage; empty where the budget is in steps.
        follows_load: whether the number of threads follows the load by other programs.
        rises: number of validations in a row with a loss above the best one.
        overfits: whether the validation loss rose before the learning rate began to fall.
    """

    schema_version: int = STATE_SCHEMA_VERSION
    stage: StageName
    step: int
    plan: dict[StageName, int]
    best_loss: float | None = None
    best_bits_per_byte: float | None = None
    seconds: float = 0.0
    tokens: int = 0
    finished: bool = False
    model: ModelConfig = ModelConfig()
    smoothed_loss: float | None = None
    lowest_loss: float | None = None
    rollbacks: int = 0
    rolled_back_to: int | None = None
    rate_factor: float = 1.0
    schedules: dict[StageName, list[Schedule]] = {}
    seconds_left: dict[StageName, float] = {}
    follows_load: bool = False
    rises: int = 0
    overfits: bool = False


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the paths of its files. It can be used wherever a path is expected."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        """The configuration with every default filled in."""
        return self.path / "config.toml"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file: `tokenizer.model`, or `tokenizer.json` of an imported model."""
        found = [path for path in map(self.path.joinpath, TOKENIZER_FILES) if path.is_file()]
        return found[0] if found else self.path / TOKENIZER_FILES[0]

    @property
    def chat_format(self) -> Path:
        """The chat format of an imported model; a run of TinyLM's own format has no such file."""
        return self.path / "chat_format.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: steps, validations, samples and events."""
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """The report for a browser: curves, samples and advice."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def provenance(self) -> Path:
        """The data of the run: files, their hashes and counts."""
        return self.path / "provenance.json"

    @property
    def imported(self) -> Path:
        """The pre-trained model that the run goes back to; a run of one's own has no such file."""
        return self.path / "imported.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self, name: CheckpointName) -> Path:
        """The folder of a checkpoint."""
        return self.checkpoints / name

    def held_out(self, stage: StageName) -> Path:
        """The held-out data of a stage, as token ids."""
        return self.path / "val" / f"{stage}.npz"

    def checkpoint_folder(self, name: CheckpointName) -> Path:
        """The checkpoint to load: the named one, or the other one if that is missing or of an earlier stage.

        Raises:
            RunError: the run has no checkpoint, or its state is broken.
        """
        self.check()
        best, last = self.checkpoint("best"), self.checkpoint("last")
        if not best.is_dir() or not last.is_dir():
            return best if best.is_dir() else last
        # If fine-tuning was stopped early, the best checkpoint is still one of pre-training, which cannot chat
        return last if name == "last" or load_state(best).stage != load_state(last).stage else best

    def check(self) -> None:
        """Make sure that this is a run folder.

        Raises:
            RunError: it is not a run folder, or has no checkpoint yet.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; `tinylm train` makes one")
        for file in (self.config, self.tokenizer):
            if not file.is_file():
                raise RunError(f"{self.path}: not a run folder of `tinylm train` (no {file.name} in it)")
        recover_folder(self.checkpoint("last"))
        recover_folder(self.checkpoint("best"))
        if not self.checkpoint("last").is_dir() and not self.checkpoint("best").is_dir():
            raise RunError(f"{self.path}: this run was stopped before its first checkpoint; train again")

    def create(self, config: Config, tokenizer: Tokenizer) -> None:
        """Create the folder with its configuration and tokenizer.

        Raises:
            RunError: the folder exists and is not empty.
            TinyLMError: the folder cannot be written.
        """
        check_free(self.path)
        with user_errors(self.path):
            for folder in (self.checkpoints, self.path / "val"):
                folder.mkdir(parents=True, exist_ok=True)
        write_file(self.config, config_to_toml(config))
        write_file(self.path / tokenizer.file_name, tokenizer.serialized())
        if not tokenizer.chat_format.is_own:
            write_file(self.chat_format, msgspec.json.format(msgspec.json.encode(tokenizer.chat_format)))

    def load_config(self) -> Config:
        """The run's configuration."""
        return load_config(self.config)

    def load_tokenizer(self) -> Tokenizer:
        """The run's tokenizer.

        Raises:
            TinyLMError: it cannot be read, or its chat format cannot.
        """
        chat_format = None
        if self.chat_format.is_file():
            try:
                chat_format = msgspec.json.decode(self.chat_format.read_bytes(), type=ChatFormat)
            except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
                raise RunError(f"{self.chat_format}: cannot be read as a chat format ({error})") from None
        return load_tokenizer(self.tokenizer, chat_format)


def check_free(path: Path) -> None:
    """Make sure that a folder does not exist, or is empty.

    Raises:
        RunError: it exists and is not empty.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        resume = command_line("--resume", path)
        raise RunError(f"{path}: exists already; give another --out, or go on with {resume}")


def load_state(folder: Path) -> TrainState:
    """Read the state of a checkpoint.

    Raises:
        RunError: the checkpoint is missing, broken or of another version.
    """
    recover_folder(folder)
    path = folder / "state.json"
    try:
        state = msgspec.json.decode(path.read_bytes(), type=TrainState)
    except FileNotFoundError:
        raise RunError(f"{folder}: no checkpoint here") from None
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise RunError(f"{path}: cannot be read as a checkpoint's state ({error})") from None
    if state.schema_version != STATE_SCHEMA_VERSION:
        raise RunError(
            f"{path}: a checkpoint of version {state.schema_version}, this TinyLM knows {STATE_SCHEMA_VERSION}"
        )
    return state

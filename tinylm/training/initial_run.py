"""The run that a training starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinylm.config import StrPath
from tinylm.provenance import ImportedModel, read_imported
from tinylm.run_folder import RunFolder, load_state
from tinylm.tokenizer import Tokenizer
from tinylm.training.checkpoint import check_vocabulary, load_weights
from tinylm.training.model import LanguageModel


@dataclass(frozen=True)
class InitialRun:
    """The best checkpoint of a complete run, and the last one where there is no best.

    Attributes:
        run: its folder.
    """

    run: RunFolder

    @classmethod
    def of(cls, path: StrPath | None) -> InitialRun | None:
        """The run at a path; None for None."""
        return None if path is None else cls(RunFolder(Path(path)))

    @property
    def imported(self) -> ImportedModel | None:
        """What it goes back to, if it was imported."""
        return read_imported(self.run.imported)

    def tokenizer(self) -> Tokenizer:
        """Load its tokenizer.

        Raises:
            RunError: it is broken.
        """
        return self.run.load_tokenizer()

    def knows_roles(self) -> bool:
        """Whether it was fine-tuned, so that it knows the symbols that open the turns of a conversation.

        Raises:
            RunError: the checkpoint is broken.
        """
        return load_state(self.run.checkpoint_folder("best")).stage == "finetune"

    def load_into(self, model: LanguageModel, tokenizer: Tokenizer, notify: Callable[[str], None]) -> None:
        """Load its weights into a model; rows of another vocabulary are matched by piece.

        Args:
            model: receives the weights.
            tokenizer: of the model.
            notify: see `load_weights`.

        Raises:
            RunError: it is broken, or its shape is another than the model's in more than the vocabulary.
        """
        folder = self.run.checkpoint_folder("best")
        own = self.tokenizer()
        check_vocabulary(self.run, own, load_state(folder))
        load_weights(folder, model, tokenizer.pieces(), own.pieces(), notify)

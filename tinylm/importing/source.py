"""What a model that is imported consists of, whatever file it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from tinylm.chat_format import ChatFormat
from tinylm.importing.templates import MarkedVocabulary
from tinylm.tokenizer import Tokenizer


class ImportedVocabulary(MarkedVocabulary, ABC):
    """A tokenizer that is made ready; see `MarkedVocabulary`.

    Attributes:
        text_prefix: text that the model's own program puts before a document.
    """

    text_prefix: str = ""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids."""

    @abstractmethod
    def is_symbol(self, id_: int) -> bool:
        """Whether an id is that of a control symbol, or of a piece that was added to be one."""

    @abstractmethod
    def add_symbol(self, piece: str) -> int:
        """Add a control symbol behind all ids.

        Returns:
            its id.
        """

    @abstractmethod
    def finish(self, chat_format: ChatFormat) -> Tokenizer:
        """The tokenizer; symbols that the format uses become control symbols."""


@dataclass(frozen=True)
class ChatSettings:
    """What a model's files say of its conversations.

    Attributes:
        bos, eos: the ids that the template calls `bos_token` and `eos_token`; None where there is none.
        ends: ids that end a reply.
        template: the chat template's source; None where there is none.
    """

    bos: int | None = None
    eos: int | None = None
    ends: list[int] = field(default_factory=list)
    template: str | None = None


class PretrainedModel(ABC):
    """A model in files that are not TinyLM's.

    Attributes:
        path: of the file or folder.
        form: name of its form.
        name: of the model.
        license: as its files name it; None where they do not.
        files: that the weights and the tokenizer are read from.
        notes: lines that the user should read.
    """

    form: str

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.license: str | None = None
        self.files: list[Path] = []
        self.notes: list[str] = []

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """Values of `ModelConfig` but `vocab_size`.

        Raises:
            TinyLMError: names the key that does not fit.
        """

    @abstractmethod
    def vocabulary(self) -> ImportedVocabulary:
        """The tokenizer.

        Raises:
            TinyLMError: there is none that can be used.
        """

    @abstractmethod
    def chat_settings(self) -> ChatSettings:
        """What its files say of conversations."""

    @abstractmethod
    def tensor_names(self) -> set[str]:
        """Names of all tensors, as Hugging Face has them; what is unknown keeps its name."""

    @abstractmethod
    def vocabulary_rows(self) -> int:
        """Rows of the embedding.

        Raises:
            TinyLMError: there is no embedding.
        """

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """Read a tensor of Hugging Face's name and layout, in fp32.

        Raises:
            TinyLMError: it cannot be read.
        """

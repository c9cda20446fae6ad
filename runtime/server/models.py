"""The models that are served, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinylm.manifest import MODEL_FILE
from tinylm.runtime.chat_model import ChatModel
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.session import LoadedModel
from tinylm.tokenizer import Tokenizer


class ServedModel:
    """A loaded bundle under its name.

    Args:
        name: its id for clients.
        bundle: the folder that it was loaded from; None for the demo model in the box.
        model: the loaded bundle.

    Attributes:
        created: when it was loaded, in seconds since 1970.
    """

    def __init__(self, name: str, bundle: Path | None, model: ChatModel) -> None:
        self.name, self.bundle, self._model = name, bundle, model
        self.created = int(time.time())
        self.manifest = model.manifest

    @property
    def weights(self) -> LoadedModel:
        """The graphs and weights, which any number of sequences share."""
        return self._model.session.model

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the bundle."""
        return self._model.tokenizer

    @property
    def context_length(self) -> int:
        """Tokens that a prompt and its reply have room for."""
        return self.weights.context_length

    @property
    def size(self) -> int:
        """Bytes of all files of the bundle."""
        return sum(entry.size for entry in self.manifest.files.values())

    @property
    def digest(self) -> str:
        """SHA-256 of the model file."""
        return self.manifest.files[MODEL_FILE].sha256

    def default_options(self) -> SamplingOptions:
        """The bundle's sampling defaults."""
        return self._model.default_options()


class Models:
    """The served models; the first one answers requests that name none.

    Args:
        models: with different names, at least one.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models = {model.name: model for model in models}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._models.values()))

    def get(self, name: str | None) -> ServedModel:
        """The model of a name.

        Raises:
            ApiError: there is none.
        """
        if name is None:
            return next(iter(self))
        model = self._models.get(name)
        if model is None:
            raise ApiError(
                404, f"there is no such model here, only {', '.join(self._models)}", "model_not_found", "model"
            )
        return model

    def replace(self, model: ServedModel) -> ServedModel:
        """Serve a model in place of the one of the same name, which is returned."""
        old = self._models[model.name]
        self._models[model.name] = model
        return old

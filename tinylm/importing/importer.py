"""A pre-trained model becomes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from tinylm.config import Config, ModelConfig, StrPath
from tinylm.errors import TinyLMError
from tinylm.files import new_folder, sha256_of
from tinylm.importing.gguf_file import GGUF_MAGIC
from tinylm.importing.gguf_model import GgufModel
from tinylm.importing.huggingface import HuggingFaceModel
from tinylm.importing.source import PretrainedModel
from tinylm.importing.symbols import ChosenFormat, choose_format
from tinylm.importing.weights import check_names, parameter_shapes, write_weights
from tinylm.printable import printable
from tinylm.provenance import ImportedModel, TrainingFile, write_imported, write_provenance
from tinylm.run_folder import RunFolder, StageName, TrainState, check_free
from tinylm.tokenizer import Tokenizer


@dataclass(frozen=True)
class ImportedRun:
    """A run that a model became.

    Attributes:
        folder: the run.
        config: shape of the model.
        parameters: their number.
        model: what was imported, and its licence.
        is_chat: whether it knows conversations.
    """

    folder: RunFolder
    config: ModelConfig
    parameters: int
    model: ImportedModel
    is_chat: bool


def import_model(
    path: StrPath,
    out: StrPath,
    *,
    notify: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ImportedRun:
    """Make a run of a pre-trained model. Nothing is downloaded, and no program of the model is run.

    Args:
        path: a Hugging Face folder, or a GGUF file.
        out: the run's folder, which must not exist.
        notify: receives lines that the user should read.
        progress: receives the number of parameters' tensors written, and of all.

    Returns:
        the run, from which `train --init`, `eval` and `export` go on.

    Raises:
        TinyLMError: something does not fit, which the message names by its key; or `out` cannot be written.
    """
    run = RunFolder(Path(out))
    check_free(run.path)
    source = open_model(Path(path))
    chosen, tokenizer, config = _prepare(source)
    for note in source.notes:
        notify(note)
    model = ImportedModel(
        name=source.name,
        form=source.form,
        license=source.license,
        chat_format=chosen.chat_format.family,
        files=[
            TrainingFile(name=file.name, bytes=file.stat().st_size, sha256=sha256_of(file)) for file in source.files
        ],
    )
    stage: StageName = "finetune" if chosen.is_chat else "pretrain"
    state = TrainState(stage=stage, step=0, plan={stage: 0}, finished=True, model=config)
    with new_folder(run.path) as folder:
        begun = RunFolder(folder)
        begun.create(Config(model=config), tokenizer)
        write_provenance(begun.provenance, {})
        write_imported(begun.imported, model)
        checkpoint = begun.checkpoint("last")
        checkpoint.mkdir()
        with (checkpoint / "model.safetensors").open("wb") as file:
            write_weights(file, source, config, chosen.added, progress)
        (checkpoint / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    parameters = sum(prod(shape) for shape in parameter_shapes(config).values())
    return ImportedRun(run, config, parameters, model, chosen.is_chat)


def _prepare(source: PretrainedModel) -> tuple[ChosenFormat, Tokenizer, ModelConfig]:
    """The chat format, the tokenizer and the shape of a model, which has the tensors for it.

    Raises:
        TinyLMError: something does not fit.
    """
    vocabulary, shape = source.vocabulary(), source.shape()
    rows, size = source.vocabulary_rows(), vocabulary.size
    if rows < size:
        raise TinyLMError(
            f"{printable(source.path)}: vocab_size: the weights have {rows:,} rows, but the tokenizer {size:,} tokens"
        )
    chosen = choose_format(vocabulary, source.chat_settings(), source.notes.append)
    try:
        tokenizer = vocabulary.finish(chosen.chat_format)
    except TinyLMError as error:
        raise TinyLMError(f"{printable(source.path)}: its tokenizer: {error}") from None
    config = _model_config(source, {**shape, "vocab_size": tokenizer.vocab_size})
    check_names(source, config)
    if rows > size:
        source.notes.append(f"{rows - size:,} rows of its vocabulary stand for no token and are left out")
    if chosen.added:
        source.notes.append(f"{chosen.added} control symbols are added to its vocabulary of {size:,}")
    return chosen, tokenizer, config


def open_model(path: Path) -> PretrainedModel:
    """Open a model's folder or file.

    Raises:
        TinyLMError: it is neither.
    """
    if path.is_dir():
        return HuggingFaceModel(path)
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise TinyLMError(f"{printable(path)}: cannot be read ({error.strerror})") from None
    if magic != GGUF_MAGIC:
        raise TinyLMError(f"{printable(path)}: neither a Hugging Face folder nor a GGUF file")
    return GgufModel(path)


def _model_config(source: PretrainedModel, values: dict[str, Any]) -> ModelConfig:
    try:
        return msgspec.convert(values, ModelConfig)
    except (msgspec.ValidationError, ValueError) as error:
        raise TinyLMError(f"{printable(source.path)}: does not fit TinyLM's llama: {error}") from None

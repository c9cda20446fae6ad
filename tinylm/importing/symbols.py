"""Choose the chat format of a model: its template's, or TinyLM's roles with rows of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinylm.chat_format import ChatFormat, Role, TurnFormat, own_format
from tinylm.errors import TinyLMError
from tinylm.importing.source import ChatSettings, ImportedVocabulary
from tinylm.importing.templates import FAMILIES, DocumentMarks, recognize
from tinylm.tokenizer import BOS, CONTROL_PIECES, EOS, ROLE_PIECES

ROLES_FAMILY = "roles"
"""Name of the format of a model whose template is unknown, or that has none."""

# What models end documents with, and never a turn
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", EOS)
_TURN_SYMBOLS = {symbol for family in FAMILIES for symbol in family.symbols}


class ChosenFormat(NamedTuple):
    """A chat format.

    Attributes:
        chat_format: it.
        is_chat: whether the model knows it.
        added: number of control symbols that were added to the vocabulary.
    """

    chat_format: ChatFormat
    is_chat: bool
    added: int


def choose_format(
    vocabulary: ImportedVocabulary, settings: ChatSettings, notify: Callable[[str], None]
) -> ChosenFormat:
    """Choose the chat format, and add the symbols that it needs to the vocabulary.

    Args:
        vocabulary: of the model.
        settings: of the model.
        notify: receives a line where the model's template is not used.
    """
    size = vocabulary.size
    own = {piece: id_ for piece in CONTROL_PIECES if (id_ := vocabulary.id_of(piece)) is not None}
    if len(own) == len(CONTROL_PIECES):
        roles = {role: own[piece] for role, piece in ROLE_PIECES.items()}
        return ChosenFormat(own_format(own[BOS], own[EOS], roles), settings.template is not None, 0)
    marks = _document_marks(vocabulary, settings)
    if settings.template is not None:
        found = recognize(settings.template, vocabulary, marks)
        if found is not None:
            return ChosenFormat(found, True, vocabulary.size - size)
        notify("its chat template is of no known family: it gets TinyLM's roles, which it has to learn by fine-tuning")
    return ChosenFormat(_with_roles(vocabulary, marks), False, vocabulary.size - size)


def _document_marks(vocabulary: ImportedVocabulary, settings: ChatSettings) -> DocumentMarks:
    ends = list(dict.fromkeys(id_ for id_ in settings.ends if vocabulary.is_symbol(id_)))
    named = [id_ for piece in _DOCUMENT_ENDS if (id_ := vocabulary.id_of(piece)) is not None]
    turns = {vocabulary.id_of(symbol) for symbol in _TURN_SYMBOLS}
    eos = next(iter([*named, *(id_ for id_ in ends if id_ not in turns)]), None)
    if eos is None:
        eos = vocabulary.add_symbol(EOS)
    declared = settings.bos if settings.bos is not None and vocabulary.is_symbol(settings.bos) else eos
    # Some models name what opens a turn as what opens a text
    bos = eos if declared in turns else declared
    closing = settings.eos if settings.eos is not None and vocabulary.is_symbol(settings.eos) else eos
    return DocumentMarks(bos, eos, declared, closing, ends, vocabulary.text_prefix)


def _with_roles(vocabulary: ImportedVocabulary, marks: DocumentMarks) -> ChatFormat:
    """TinyLM's roles, with symbols that are added for them."""
    roles: dict[Role, int] = {}
    for role, piece in ROLE_PIECES.items():
        if vocabulary.id_of(piece) is not None:
            raise TinyLMError(f"its vocabulary has {piece} already, but no chat template that is known")
        roles[role] = vocabulary.add_symbol(piece)
    return ChatFormat(
        family=ROLES_FAMILY,
        bos=marks.bos,
        eos=marks.eos,
        opening=[marks.bos],
        system=TurnFormat(before=[roles["system"]]),
        user=TurnFormat(before=[roles["user"]]),
        assistant=TurnFormat(before=[roles["assistant"]], after=[marks.eos]),
        ends=list(dict.fromkeys([marks.eos, *marks.ends])),
        text_prefix=marks.text_prefix,
    )

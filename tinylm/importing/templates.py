"""Recognize the chat template of a model, and describe it by ids.

A template is a program in Jinja's language, and a stranger's: it is never run, here or on the device. Its text is
searched for the marks of the known families, as llama.cpp does; what it says of a default system message, of white
space and of the first token is read from it too. A template of no known family is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tinylm.chat_format import ROLES, ChatFormat, Role, TurnFormat

MAX_TEMPLATE_CHARACTERS = 100_000
_BOS, _EOS = "{bos}", "{eos}"
_TRIMS = re.compile(r"\|\s*trim\b|\.strip\(\)")
_NEW_LINE = r"(?:\\n|\n)"
_DATE = re.compile(r"date_string = [\"']([^\"'\\{}<>]{1,40})[\"']")
_KNOWLEDGE = "Cutting Knowledge Date: December 2023"
_NO_THOUGHT = "<think>\n\n</think>\n\n"


class MarkedVocabulary(Protocol):
    """What the recognition needs of a tokenizer."""

    def id_of(self, piece: str) -> int | None:
        """The id of a control symbol, or of a piece that was added to be one; None where there is none."""
        ...

    def text_ids(self, text: str) -> list[int]:
        """Token ids of text inside a conversation."""
        ...


@dataclass(frozen=True)
class DocumentMarks:
    """The ids that open and end a document, and those that the model's own settings name.

    Attributes:
        bos, eos: of a document, see `ChatFormat`.
        declared_bos, declared_eos: the ids that the template calls `bos_token` and `eos_token`.
        ends: ids that end a reply by the model's settings.
        text_prefix: see `ChatFormat`.
    """

    bos: int
    eos: int
    declared_bos: int
    declared_eos: int
    ends: list[int]
    text_prefix: str = ""


@dataclass(frozen=True)
class Turns:
    """The texts around a role's message; `{bos}` and `{eos}` stand for those ids."""

    before: str
    after: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Family:
    """A family of templates.

    Attributes:
        name: of the family.
        marks: texts that a template of it has.
        symbols: control symbols among them, each one id.
        turns: what stands around each role's message.
        default_system: finds the default system message in a template.
        merges_system: see `ChatFormat`.
        trims: whether the family always trims messages; otherwise the template says so.
    """

    name: str
    marks: tuple[str, ...]
    symbols: tuple[str, ...]
    turns: Mapping[Role, Turns]
    default_system: re.Pattern[str] | None = None
    merges_system: bool = False
    trims: bool = False
    vary: Callable[[str, Mapping[Role, Turns]], Mapping[Role, Turns]] = field(default=lambda _, turns: turns)


def _alike(before: str, after: str, names: Mapping[Role, str] | None = None) -> dict[Role, Turns]:
    return {role: Turns(before.replace("{role}", (names or {}).get(role, role)), after) for role in ROLES}


def _vary_chatml(template: str, turns: Mapping[Role, Turns]) -> Mapping[Role, Turns]:
    """Without a line end behind the mark, and with the empty thought by which Qwen3 is asked not to think aloud."""
    if not re.search(rf"<\|im_end\|>[\"']?\s*[+~]?\s*[\"']?{_NEW_LINE}", template):
        turns = {role: Turns(turn.before, "<|im_end|>") for role, turn in turns.items()}
    if "enable_thinking" in template and "<think>" in template:
        reply = turns["assistant"]
        turns = {**turns, "assistant": Turns(reply.before + _NO_THOUGHT, reply.after)}
    return turns


def _vary_llama3(template: str, turns: Mapping[Role, Turns]) -> Mapping[Role, Turns]:
    """With the dates that Llama 3.1 and later have before every system message."""
    date = _DATE.search(template)
    if _KNOWLEDGE not in template or not date:
        return turns
    system = turns["system"]
    dates = f"{_KNOWLEDGE}\nToday Date: {date[1]}\n\n"
    return {**turns, "system": Turns(system.before + dates, system.after)}


FAMILIES = (
    Family(
        "llama3",
        marks=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        symbols=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        turns=_alike("<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>"),
        default_system=_DATE,
        vary=_vary_llama3,
    ),
    Family(
        "chatml",
        marks=("<|im_start|>", "<|im_end|>"),
        symbols=("<|im_start|>", "<|im_end|>"),
        turns=_alike("<|im_start|>{role}\n", "<|im_end|>\n"),
        default_system=re.compile(
            rf"([\"'])<\|im_start\|>system{_NEW_LINE}(?P<text>(?:(?!\1)[^{{}}<>\\]|\\n){{1,2000}})<\|im_end\|>{_NEW_LINE}?\1"
        ),
        vary=_vary_chatml,
    ),
    Family(
        "gemma",
        marks=("<start_of_turn>", "<end_of_turn>"),
        symbols=("<start_of_turn>", "<end_of_turn>"),
        turns={
            **_alike("<start_of_turn>{role}\n", "<end_of_turn>\n", {"assistant": "model"}),
            "system": Turns("<start_of_turn>user\n", "\n\n"),
        },
        merges_system=True,
        trims=True,
    ),
    Family(
        "llama2",
        marks=("[INST]", "[/INST]", "<<SYS>>"),
        symbols=(),
        turns={
            "system": Turns(" [INST] <<SYS>>\n", "\n<</SYS>>\n\n"),
            "user": Turns(" [INST]", prefix=" "),
            # A conversation goes on with another beginning of a text
            "assistant": Turns(" [/INST]", f" {_EOS}{_BOS}", prefix=" "),
        },
        merges_system=True,
        trims=True,
    ),
    Family(
        "zephyr",
        marks=("<|user|>", "<|assistant|>", "<|system|>", "eos_token"),
        symbols=(),
        turns=_alike("<|{role}|>\n", f"{_EOS}\n"),
    ),
)


def recognize(template: str, vocabulary: MarkedVocabulary, marks: DocumentMarks) -> ChatFormat | None:
    """Describe a chat template by ids.

    Args:
        template: its source, which is not run.
        vocabulary: of the model.
        marks: of documents.

    Returns:
        the format; None where the template is of no known family, or the vocabulary lacks its symbols.
    """
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        return None
    for family in FAMILIES:
        if all(mark in template for mark in family.marks):
            symbols = {symbol: vocabulary.id_of(symbol) for symbol in family.symbols}
            known = {symbol: id_ for symbol, id_ in symbols.items() if id_ is not None}
            return _describe(family, template, vocabulary, marks, known) if len(known) == len(symbols) else None
    return None


def _describe(
    family: Family, template: str, vocabulary: MarkedVocabulary, marks: DocumentMarks, symbols: Mapping[str, int]
) -> ChatFormat:
    ids_of_marks = {**symbols, _BOS: marks.declared_bos, _EOS: marks.declared_eos}
    splitter = re.compile("(" + "|".join(map(re.escape, ids_of_marks)) + ")")

    def ids_of(text: str) -> list[int]:
        parts = [part for part in splitter.split(text) if part]
        return [
            id_
            for part in parts
            for id_ in ([ids_of_marks[part]] if part in ids_of_marks else vocabulary.text_ids(part))
        ]

    turns = {
        role: TurnFormat(before=ids_of(turn.before), prefix=turn.prefix, after=ids_of(turn.after))
        for role, turn in family.vary(template, family.turns).items()
    }
    closing = set(turns["assistant"].after) & {*symbols.values(), marks.declared_eos}
    first = next(id_ for id_ in turns["assistant"].after if id_ in closing)
    return ChatFormat(
        family=family.name,
        bos=marks.bos,
        eos=marks.eos,
        opening=[marks.declared_bos] if "bos_token" in template else [],
        system=turns["system"],
        user=turns["user"],
        assistant=turns["assistant"],
        ends=list(dict.fromkeys([first, *marks.ends, marks.eos])),
        default_system=_default_system(family, template),
        merges_system=family.merges_system,
        trims=family.trims or bool(_TRIMS.search(template)),
        text_prefix=marks.text_prefix,
    )


def _default_system(family: Family, template: str) -> str | None:
    found = family.default_system.search(template) if family.default_system else None
    if not found:
        return None
    # Llama's dates stand before every system message, and so before an empty one
    return (found.groupdict().get("text") or "").replace("\\n", "\n")

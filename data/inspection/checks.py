"""Find problems in the statistics of an inspection, and say what to do about each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tinylm.data.inspection.inspection import ExampleFacts, ExampleKind, Inspection
from tinylm.data.inspection.token_statistics import TokenFacts

_MUCH, _SOME = 0.5, 0.1
_FEW_SUPERVISED = 0.1
_LITTLE_TEXT = 50_000
_SHOWN_FILES = 10
_LONGEST_CONTEXT = 65_536


class DataFinding(NamedTuple):
    """A problem of the data.

    Attributes:
        severity: `error` makes training useless; `warning` may harm it.
        problem: what is wrong.
        advice: what to do.
    """

    severity: Literal["error", "warning"]
    problem: str
    advice: str


def findings_of(inspection: Inspection) -> list[DataFinding]:
    """Find the problems of the data, errors first."""
    found = [*_of_files(inspection)]
    for kind, facts in inspection.kinds.items():
        found += _of_examples(kind, facts)
        if facts.tokens is not None:
            found += _of_tokens(kind, facts.tokens, inspection)
    return sorted(found, key=lambda finding: finding.severity != "error")


def _of_files(inspection: Inspection) -> Iterator[DataFinding]:
    broken = [file for file in inspection.files if file.error is not None]
    for file in broken[:_SHOWN_FILES]:
        yield DataFinding("error", f"cannot be read: {file.error}", file.advice)
    if len(broken) > _SHOWN_FILES:
        problem = f"{len(broken) - _SHOWN_FILES:,} more files cannot be read"
        yield DataFinding("error", problem, "see them in --json, and fix them or leave them out")
    others = [file.path for file in inspection.files if "cp1252" in file.encoding]
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        problem = f"{others[0]}{more}: not UTF-8, read as cp1252"
        yield DataFinding("warning", problem, "check accented letters in the samples")


def _of_examples(kind: ExampleKind, facts: ExampleFacts) -> Iterator[DataFinding]:
    left_out = sum(facts.skipped.values())
    skipped = left_out / (left_out + facts.count)
    if skipped > _SOME:
        yield _graded(
            skipped, f"{skipped:.0%} of the {kind} are left out", "see the reasons with the files; fix or convert them"
        )
    exact, normalized = facts.duplicates["exact"], facts.duplicates["normalized"]
    if normalized > _SOME:
        problem = f"{normalized:.0%} of the {kind} are duplicates ({exact:.0%} exact ones)"
        yield _graded(normalized, problem, "keep one of each: the model overfits to repeated text")
    if facts.commonest_reply > _SOME and facts.turns > 20:
        problem = f"one reply is {facts.commonest_reply:.0%} of all replies"
        yield _graded(facts.commonest_reply, problem, "remove most of its copies, or the model will reply little else")
    damaged = facts.damaged / facts.count
    if damaged > 0.01:
        problem = f"{damaged:.0%} of the {kind} hold characters of a wrong encoding, such as \ufffd or \u00c3\u00a9"
        yield _graded(damaged, problem, "write the file again from its source, in UTF-8")
    if facts.characters < _LITTLE_TEXT:
        problem = f"only {facts.characters:,} characters of {kind}"
        yield DataFinding("warning", problem, "add more data, or start from another run with --init")
    if kind == "conversations" and facts.roles.ended_by_user > _MUCH * facts.count:
        problem = f"{facts.roles.ended_by_user / facts.count:.0%} of the conversations end with the user"
        yield DataFinding("warning", problem, "the last turn is not trained on: is the assistant's reply missing?")


def _of_tokens(kind: ExampleKind, tokens: TokenFacts, inspection: Inspection) -> Iterator[DataFinding]:
    context = inspection.context_length
    if tokens.supervised_lost == 1 or not tokens.supervised:
        problem = f"no supervised tokens: no reply fits a context of {context:,} tokens"
        yield DataFinding("error", problem, _longer_context(tokens, context) or "shorten the conversations")
    elif kind == "conversations" and tokens.supervised < _FEW_SUPERVISED:
        problem = f"only {tokens.supervised:.1%} of the tokens are the assistant's"
        yield DataFinding("warning", problem, "training learns little per step: shorten system messages and questions")
    if kind == "conversations" and tokens.over_long > _SOME:
        problem = f"{tokens.over_long:.0%} of the conversations are longer than {context:,} tokens and are cut"
        longer = _longer_context(tokens, context)
        advice = f"{longer}, or leave the longest out" if longer else "leave the longest out, or split them"
        yield _graded(tokens.over_long, problem, advice)
    if kind == "conversations" and tokens.cut_turns > 0.01:
        problem = (
            f"{tokens.cut_turns:.0%} of the conversations have a turn of more than {context:,} tokens, which is cut: "
            f"{tokens.supervised_lost:.0%} of the supervised tokens are lost"
        )
        longer = _longer_context(tokens, context)
        yield _graded(tokens.cut_turns, problem, f"shorten such turns{f', or {longer}' if longer else ''}")
    if tokens.characters_as_bytes > 0.01:
        problem = f"{tokens.characters_as_bytes:.1%} of the characters are encoded as bytes"
        yield _graded(
            tokens.characters_as_bytes, problem, "train a tokenizer on this data, or use a larger model.vocab_size"
        )
    if tokens.bytes_per_token < 2:
        problem = f"a token holds only {tokens.bytes_per_token:.2f} bytes of text"
        yield DataFinding("warning", problem, "a larger model.vocab_size makes sequences shorter")


def _graded(share: float, problem: str, advice: str) -> DataFinding:
    return DataFinding("error" if share > _MUCH else "warning", problem, advice)


def _longer_context(tokens: TokenFacts, context_length: int) -> str:
    """How to train with a context that holds nearly all examples; empty where none that is allowed does."""
    wanted = 1 << max(4, (tokens.p95 - 1).bit_length())
    fits = context_length < wanted <= _LONGEST_CONTEXT
    return f"train with --set model.context_length={wanted}" if fits else ""

"""Read data files and collect statistics about them, without torch and in bounded memory.

Statistics in tokens come from a uniform sample of the data, or from all of it where it is small; duplicates are counted
by hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

from tinylm.chat_format import Conversation, Example, texts_of
from tinylm.config import TokenizerConfig
from tinylm.data.dataset.reservoir import BoundedSample, DuplicateCounter
from tinylm.data.inspection.token_statistics import (
    MarkedText,
    TokenFacts,
    clipped,
    encode_for_measuring,
    measure_tokens,
    spans_of,
)
from tinylm.data.readers.front_door import iter_conversations, iter_documents
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.turns import AbsentError, NotConversationsError, PeopleError
from tinylm.errors import DataError
from tinylm.tokenizer import Tokenizer, train_tokenizer

ExampleKind = Literal["conversations", "documents"]
_SAMPLE_CHARACTERS = 8_000_000
# Of a longer document the beginning is measured
_MEASURED_CHARACTERS = 1_000_000
_SAMPLE_LENGTH = 2000


@dataclass
class InspectedFile:
    """A file and how it was read.

    Attributes:
        kind: what it holds; None where nothing could be read.
        read: number of conversations or documents.
        skipped: number of those that were left out, by reason.
        notes: lines that the user should read.
        error: why it could not be read to its end, or None.
        advice: what to do about that.
    """

    path: str
    kind: ExampleKind | None
    form: str
    encoding: str
    compression: str | None
    bytes: int
    read: int
    skipped: dict[str, int]
    notes: list[str]
    error: str | None = None
    advice: str = ""


@dataclass
class RoleFacts:
    """Numbers of conversations by the order of their roles."""

    alternating: int = 0
    opened_by_assistant: int = 0
    ended_by_user: int = 0
    with_system: int = 0
    system_in_the_middle: int = 0

    def add(self, conversation: Conversation) -> None:
        """Count one conversation."""
        roles = [message["role"] for message in conversation]
        self.with_system += roles[0] == "system"
        self.system_in_the_middle += "system" in roles[1:]
        spoken = [role for role in roles if role != "system"]
        self.opened_by_assistant += spoken[0] == "assistant"
        self.ended_by_user += spoken[-1] == "user"
        self.alternating += spoken == ["user", "assistant"] * (len(spoken) // 2) and "system" not in roles[1:]


@dataclass
class ExampleFacts:
    """Statistics of all conversations, or of all documents.

    Attributes:
        skipped: number of further examples that were left out, by reason.
        damaged: number of examples with characters that a wrong encoding leaves.
        duplicates: share of the examples that repeat an earlier one, 0 to 1: exactly (`exact`), and without regard to
            case and white space (`normalized`).
        duplicates_looked_at: share of the examples among which duplicates were counted.
        commonest_reply: share of the most frequent reply among all replies; 0 for documents.
        sample_share: share of the examples that were measured in tokens.
        tokens: None where nothing was measured.
    """

    count: int = 0
    turns: int = 0
    characters: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    roles: RoleFacts = field(default_factory=RoleFacts)
    duplicates: dict[str, float] = field(default_factory=dict)
    duplicates_looked_at: float = 1.0
    commonest_reply: float = 0.0
    sample_share: float = 1.0
    tokens: TokenFacts | None = None


@dataclass
class Inspection:
    """The result of an inspection.

    Attributes:
        files: each file.
        kinds: statistics of all files, by what they hold.
        context_length: in tokens, that lengths are compared with.
        vocab_size, tokenizer: size of the tokenizer, and where it is from.
        samples: some examples as text with the loss mask; long ones are cut.
    """

    files: list[InspectedFile]
    kinds: dict[ExampleKind, ExampleFacts]
    context_length: int
    vocab_size: int = 0
    tokenizer: str = ""
    samples: list[MarkedText] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values; in samples, what the loss mask selects stands in «»."""
        values = asdict(self)
        values["samples"] = ["".join(f"\u00ab{text}\u00bb" if said else text for text, said in s) for s in self.samples]
        return values


class _Collector:
    """Collects statistics of conversations or of documents in bounded memory."""

    def __init__(self) -> None:
        self.facts = ExampleFacts()
        self.sample: BoundedSample[Example] = BoundedSample(_SAMPLE_CHARACTERS)
        self._exact, self._normal, self._replies = DuplicateCounter(), DuplicateCounter(), DuplicateCounter()

    def add(self, example: Example) -> None:
        texts = texts_of(example)
        size = sum(map(len, texts))
        if size > _MEASURED_CHARACTERS:
            example = _beginning(example)
            texts = [*texts_of(example), str(size)]
        # Turns are joined by a character that no text holds: the same words in other turns are no duplicate
        joined = "\0".join(texts)
        self.facts.count += 1
        self.facts.turns += 1 if isinstance(example, str) else len(example)
        self.facts.characters += size
        self.facts.damaged += "\ufffd" in joined or "\u00c3\u00a9" in joined or "\u00e2\u20ac" in joined
        self._exact.add(joined)
        self._normal.add(" ".join(joined.casefold().split()))
        if not isinstance(example, str):
            self.facts.roles.add(example)
            for message in example:
                if message["role"] == "assistant":
                    self._replies.add(message["content"])
        self.sample.add(example, min(size, _MEASURED_CHARACTERS))

    def finish(self, summaries: Sequence[ReadSummary]) -> ExampleFacts:
        facts = self.facts
        facts.skipped = dict(sum((summary.skipped for summary in summaries), Counter[str]()))
        facts.duplicates = {"exact": self._exact.share, "normalized": self._normal.share}
        facts.duplicates_looked_at = self._exact.looked_at
        facts.commonest_reply = self._replies.commonest_share
        facts.sample_share = len(self.sample.items) / facts.count if facts.count else 1.0
        return facts


def inspect_files(
    paths: Sequence[str | PathLike[str]],
    *,
    kind: ExampleKind | None = None,
    tokenizer: Tokenizer | int,
    context_length: int,
    samples: int = 3,
    options: ReadOptions | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Inspection:
    """Inspect data files. A file that cannot be read is reported in `InspectedFile.error`; the others are inspected.

    Args:
        paths: the files.
        kind: how to read them; None: as conversations where possible, else as documents.
        tokenizer: to count tokens with, or the size of the vocabulary of one that is trained on the data.
        context_length: in tokens; training cuts longer conversations.
        samples: number of examples to show.
        options: how the files are read.
        notify: receives what is being done.
    """
    collectors: dict[ExampleKind, _Collector] = {}
    summaries: dict[ExampleKind, list[ReadSummary]] = {"conversations": [], "documents": []}
    files: list[InspectedFile] = []
    for path in paths:
        notify(f"Reading {fspath(path)}")
        facts, summary = _read(path, kind, collectors, options or ReadOptions())
        files.append(facts)
        if facts.kind is not None:
            summaries[facts.kind].append(summary)
    kinds = {name: collector.finish(summaries[name]) for name, collector in collectors.items()}
    result = Inspection(files, kinds, context_length)
    measured = {name: collector.sample.items for name, collector in collectors.items()}
    if not any(measured.values()):
        return result
    if isinstance(tokenizer, int):
        notify("Training a tokenizer on the data")
        texts = (text for items in measured.values() for item in items for text in texts_of(item))
        tokenizer, result.tokenizer = train_tokenizer(texts, tokenizer, TokenizerConfig()), "trained on this data"
    result.vocab_size = tokenizer.vocab_size
    notify("Counting tokens")
    for name, items in measured.items():
        kinds[name].tokens = _measure(items, tokenizer, context_length, kinds[name])
    shown = [_beginning(item, _SAMPLE_LENGTH) for item in _spread(measured, samples)]
    for encoded in encode_for_measuring(shown, tokenizer, context_length):
        result.samples.append(clipped(spans_of(encoded, tokenizer), _SAMPLE_LENGTH))
    return result


def _read(
    path: str | PathLike[str],
    kind: ExampleKind | None,
    collectors: dict[ExampleKind, _Collector],
    options: ReadOptions,
) -> tuple[InspectedFile, ReadSummary]:
    """Read a file and add its examples to a collector."""
    order: list[ExampleKind] = [kind] if kind is not None else ["conversations", "documents"]
    error: DataError | None = None
    for name in order:
        summary, error = ReadSummary(path), None
        read: Callable[..., Iterator[Example]] = iter_conversations if name == "conversations" else iter_documents
        try:
            for example in read(path, summary, options):
                if name not in collectors:
                    collectors[name] = _Collector()
                collectors[name].add(example)
        except DataError as problem:
            error = problem
            if kind is None and not summary.kept and isinstance(error, NotConversationsError):
                continue
        break
    found: ExampleKind | None = name if summary.kept else None
    facts = _file_facts(path, found, summary)
    if error is not None:
        facts.error, facts.advice = str(error), _advice(error, path, name, options)
    return facts, summary


def _advice(error: DataError, path: str | PathLike[str], kind: ExampleKind, options: ReadOptions) -> str:
    """What the user can do about a file that is not read: raw text is offered where it works."""
    as_text = False
    if kind == "conversations":
        with suppress(DataError):
            as_text = next(iter_documents(path, ReadSummary(path), options), None) is not None
    what = "name the assistant" if isinstance(error, PeopleError | AbsentError) else "fix it or leave it out"
    return f"{what}; or read it as raw text: --as text" if as_text else what


def _file_facts(path: str | PathLike[str], kind: ExampleKind | None, summary: ReadSummary) -> InspectedFile:
    prefix = f"{fspath(path)}: "
    forms = ", ".join(form for form, _ in summary.forms.most_common())
    return InspectedFile(
        path=fspath(path),
        kind=kind,
        form=", ".join(part for part in (summary.container, forms) if part),
        encoding=summary.encoding,
        compression=summary.compression,
        bytes=Path(path).stat().st_size if summary.kept else 0,
        read=summary.kept,
        skipped=dict(summary.skipped),
        notes=[sentence.removeprefix(prefix) for sentence in summary.sentences()],
    )


def _measure(items: Sequence[Example], tokenizer: Tokenizer, context_length: int, facts: ExampleFacts) -> TokenFacts:
    encoded = encode_for_measuring(items, tokenizer, context_length)
    characters = sum(len(text) for item in items for text in texts_of(item))
    scale = facts.characters / characters if characters else 1.0
    return measure_tokens(encoded, tokenizer, context_length, scale)


def _spread(samples: dict[ExampleKind, list[Example]], count: int) -> list[Example]:
    """A few examples spread over the sample: conversations, or documents where there are none."""
    items = samples.get("conversations") or samples.get("documents") or []
    last = len(items) - 1
    return [items[index] for index in sorted({round(last * number / max(1, count - 1)) for number in range(count)})]


def _beginning(example: Example, characters: int = _MEASURED_CHARACTERS) -> Example:
    """An example cut to its first characters; of a conversation, each message keeps one at least."""
    if isinstance(example, str):
        return example[:characters]
    cut: Conversation = []
    for message in example:
        content = message["content"][: max(1, characters)]
        characters -= len(content)
        cut.append({"role": message["role"], "content": content})
    return cut

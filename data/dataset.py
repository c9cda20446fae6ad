"""From documents and conversations to rows of token ids: held-out split, tokenization and packing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Conversation, Message, encode_conversation, encode_turn
from tinylm.evaluation import IGNORED, TokenSequences
from tinylm.tokenizer import Tokenizer

Example = TypeVar("Example", str, Conversation)

MIN_CONVERSATIONS_TO_SPLIT = 5
MIN_TAIL_CHARACTERS = 200
_BATCH = 4096


def split_held_out(
    examples: Sequence[Example],
    fraction: float,
    *,
    max_characters: int = 2_000_000,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[list[Example], list[Example]]:
    """Divide documents or conversations into training and held-out ones.

    Which go is decided by a hash of the content: the same everywhere, and an example that occurs twice is never on
    both sides. A lone document gives its end; too little data gives nothing, with a word to `notify`.

    Args:
        examples: documents, or conversations.
        fraction: wanted part of the examples held out.
        max_characters: held-out text is not made longer than this.
        notify: called with a sentence about what the user should know.

    Returns:
        training examples and held-out examples, each in their order.
    """
    if not fraction:
        notify("validation_fraction is 0: training goes on without validation")
        return list(examples), []
    if len(examples) == 1 and isinstance(examples[0], str):
        return _split_lone_document(examples[0], fraction, max_characters, notify)
    if len(examples) < (2 if examples and isinstance(examples[0], str) else MIN_CONVERSATIONS_TO_SPLIT):
        notify(f"only {len(examples)} example(s): too few to hold any out, training goes on without validation")
        return list(examples), []
    keys = [_content_hash(example) for example in examples]
    counts: dict[bytes, int] = {}
    characters: dict[bytes, int] = {}
    for key, example in zip(keys, examples, strict=True):
        counts[key] = counts.get(key, 0) + 1
        characters[key] = characters.get(key, 0) + _characters(example)
    if len(counts) < 2:
        notify("all examples are the same: training goes on without validation")
        return list(examples), []
    total_characters = sum(characters.values())
    chosen: set[bytes] = set()
    held = held_characters = 0
    for key in sorted(counts):
        if held >= max(1, fraction * len(examples)) or len(chosen) + 1 >= len(counts):
            break
        if chosen and held_characters + characters[key] > max_characters:
            break
        # An example that is most of the data is there to learn from
        if 2 * characters[key] > total_characters:
            continue
        chosen.add(key)
        held += counts[key]
        held_characters += characters[key]
    training = [example for key, example in zip(keys, examples, strict=True) if key not in chosen]
    # One copy of each is enough to measure on
    held_out = {key: example for key, example in zip(keys, examples, strict=True) if key in chosen}
    return training, list(held_out.values())


def tokenize_documents(documents: Iterable[str], tokenizer: Tokenizer, *, threads: int = 1) -> TokenSequences:
    """Each document as its ids and an `<eos>`."""
    sequences: list[NDArray[np.int32]] = []
    for batch in _batches(documents):
        encoded = tokenizer.encode_batch(batch, threads)
        sequences += [np.array([*ids, tokenizer.eos_id], np.int32) for ids in encoded]
    flat = np.concatenate(sequences) if sequences else np.zeros(0, np.int32)
    ends = np.cumsum([len(ids) for ids in sequences], dtype=np.int64)
    return TokenSequences(flat, np.ones(len(flat), np.bool_), ends)


def tokenize_conversations(conversations: Iterable[Conversation], tokenizer: Tokenizer) -> TokenSequences:
    """Each conversation in the chat format, whole and without its `<bos>`."""
    encoded = [encode_conversation(tokenizer, conversation) for conversation in conversations]
    return TokenSequences.join([ids[1:] for ids, _ in encoded], [mask[1:] for _, mask in encoded])


@dataclass
class PackedRows:
    """Rows of `context_length + 1` token ids, shuffled anew each epoch; any batch can be asked for at any time.

    Attributes:
        ids: uint16 or uint32 [rows, context_length + 1].
        supervised: which of them the model is to say, bool of the same shape.
        seed: of the shuffling.
        notes: what became of the data that did not fit, by kind.
    """

    ids: NDArray[np.unsignedinteger[Any]]
    supervised: NDArray[np.bool_]
    seed: int
    notes: dict[str, int] = field(default_factory=dict)
    _epoch: tuple[int, NDArray[np.int64]] | None = field(default=None, repr=False)

    def batch(self, index: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Batch number `index` of the endless sequence of batches of `size` rows.

        Returns:
            inputs and targets, int64 [size, context_length]; targets are `IGNORED` where not supervised.
        """
        numbers = np.arange(index * size, (index + 1) * size)
        rows = np.array([self._order(int(n) // len(self.ids))[int(n) % len(self.ids)] for n in numbers])
        ids = self.ids[rows].astype(np.int64)
        return ids[:, :-1], np.where(self.supervised[rows][:, 1:], ids[:, 1:], IGNORED)

    @property
    def tokens(self) -> int:
        """Positions of one epoch."""
        return self.ids[:, 1:].size

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.ids))
            self._epoch = (epoch, order)
        return self._epoch[1]


def pack_documents(sequences: TokenSequences, tokenizer: Tokenizer, context_length: int, seed: int) -> PackedRows:
    """Put documents one after the other, in shuffled order, and cut them into rows, each opened with `<bos>`."""
    order = np.random.default_rng((seed, 0)).permutation(len(sequences))
    spans = list(sequences.spans())
    bos = np.array([tokenizer.bos_id], np.int32)
    parts: list[NDArray[np.int32]] = []
    for index in order:
        start, end = spans[index]
        parts += [sequences.ids[start:end], bos]
    stream = np.concatenate(parts)
    rows = max(1, len(stream) // context_length)
    # Less than one row of text is repeated to fill it
    body = np.resize(stream, (rows, context_length))
    ids = np.concatenate((np.full((rows, 1), tokenizer.bos_id), body), axis=1).astype(_id_type(tokenizer))
    # A document's end says nothing about the next one: nobody has to foretell `<bos>`
    return PackedRows(ids, ids != tokenizer.bos_id, seed)


def pack_conversations(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, context_length: int, seed: int
) -> PackedRows:
    """Put whole conversations together so that rows are full (best fit).

    A conversation that is longer than a row is cut between turns, as a chat does when its context is full: each part
    opens with `<bos>` and the system message. Where nothing fits the end of a row, the head of a conversation fills
    it; that conversation is also somewhere whole.
    """
    capacity = context_length + 1
    notes = {"conversations": 0, "cut_between_turns": 0, "turns_truncated": 0, "parts_without_reply": 0}
    chunks: list[Chunk] = []
    for conversation in conversations:
        notes["conversations"] += 1
        chunks += chunks_of(conversation, tokenizer, capacity, notes)
    if not chunks:
        raise ValueError("no conversation has an assistant's turn that fits the context")
    rng = np.random.default_rng((seed, 1))
    shuffled = [chunks[index] for index in rng.permutation(len(chunks))]
    rows = _best_fit(shuffled, capacity)
    ids = np.empty((len(rows), capacity), _id_type(tokenizer))
    supervised = np.zeros((len(rows), capacity), np.bool_)
    fillers = 0
    for row, members in enumerate(rows):
        filled = 0
        while filled < capacity:
            if members:
                chunk = members.pop()
            else:
                chunk = shuffled[fillers % len(shuffled)]
                fillers += 1
            size = min(len(chunk.ids), capacity - filled)
            ids[row, filled : filled + size] = chunk.ids[:size]
            supervised[row, filled : filled + size] = chunk.supervised[:size]
            filled += size
    has_target = supervised[:, 1:].any(axis=1)
    return PackedRows(ids[has_target], supervised[has_target], seed, notes)


@dataclass(frozen=True)
class Chunk:
    """Token ids that stay together in a row, and which of them the model is to say."""

    ids: list[int]
    supervised: list[bool]


def chunks_of(conversation: Conversation, tokenizer: Tokenizer, capacity: int, notes: dict[str, int]) -> list[Chunk]:
    """A conversation in parts of at most `capacity` tokens, each with a reply; `notes` counts what is lost."""
    ids, supervised = encode_conversation(tokenizer, conversation)
    if len(ids) <= capacity:
        return [Chunk(ids, supervised)] if any(supervised) else []
    notes["cut_between_turns"] += 1
    system: list[int] = []
    rest: Sequence[Message] = conversation
    if conversation[0]["role"] == "system":
        system, rest = encode_turn(tokenizer, conversation[0])[0], conversation[1:]
        if len(system) > capacity // 2:
            system = system[: capacity // 2]
            notes["turns_truncated"] += 1
    opening = [tokenizer.bos_id, *system]
    chunks: list[Chunk] = []
    ids, supervised = list(opening), [False] * len(opening)

    def close() -> None:
        nonlocal ids, supervised
        if any(supervised):
            chunks.append(Chunk(ids, supervised))
        elif len(ids) > len(opening):
            notes["parts_without_reply"] += 1
        ids, supervised = list(opening), [False] * len(opening)

    for exchange in _exchanges(rest):
        turns = [encode_turn(tokenizer, message) for message in exchange]
        if len(ids) + sum(len(turn) for turn, _ in turns) > capacity:
            close()
        for turn, flags in turns:
            room = capacity - len(ids)
            if len(turn) > room:
                notes["turns_truncated"] += 1
            ids += turn[:room]
            supervised += flags[:room]
    close()
    return chunks


def _exchanges(messages: Sequence[Message]) -> list[list[Message]]:
    """Group messages so that each group but the first begins with a user's turn."""
    groups: list[list[Message]] = []
    for message in messages:
        if not groups or message["role"] == "user":
            groups.append([])
        groups[-1].append(message)
    return groups


def _best_fit(chunks: Sequence[Chunk], capacity: int, open_rows: int = 64) -> list[list[Chunk]]:
    """Assign chunks to rows: each goes where the least room is left, among a bounded number of open rows."""
    closed: list[list[Chunk]] = []
    rows: list[tuple[int, list[Chunk]]] = []
    for chunk in chunks:
        size = len(chunk.ids)
        fitting = [index for index, (room, _) in enumerate(rows) if room >= size]
        if fitting:
            best = min(fitting, key=lambda index: rows[index][0])
            room, members = rows.pop(best)
            members.append(chunk)
            room -= size
        else:
            room, members = capacity - size, [chunk]
        if room:
            rows.append((room, members))
        else:
            closed.append(members)
        if len(rows) > open_rows:
            fullest = min(range(len(rows)), key=lambda index: rows[index][0])
            closed.append(rows.pop(fullest)[1])
    return closed + [members for _, members in rows]


def _split_lone_document(
    document: str, fraction: float, max_characters: int, notify: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    wanted = min(max(MIN_TAIL_CHARACTERS, int(len(document) * fraction)), max_characters)
    if len(document) < 5 * MIN_TAIL_CHARACTERS:
        notify("one short document: too little to hold any out, training goes on without validation")
        return [document], []
    cut = len(document) - wanted
    # Rather between two paragraphs, lines or words than inside one
    for separator in ("\n", " "):
        found = document.rfind(separator, cut - MIN_TAIL_CHARACTERS, cut)
        if found > 0:
            cut = found + 1
            break
    notify(f"one document: its last {len(document) - cut:,} characters are held out for validation")
    return [document[:cut]], [document[cut:]]


def _content_hash(example: Any) -> bytes:
    return hashlib.blake2b(json.dumps(example).encode(), digest_size=16).digest()


def _characters(example: str | Conversation) -> int:
    return len(example) if isinstance(example, str) else sum(len(message["content"]) for message in example)


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _id_type(tokenizer: Tokenizer) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)

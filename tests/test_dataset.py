"""From text to rows: what is held out, what a row holds, and that nothing of the data is lost on the way."""

import json
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import (
    ASSISTANT,
    BOS,
    EOS,
    SYSTEM,
    USER,
    Letters,
    TokenArray,
    bounds_of,
    join,
)

from tinylm.chat_format import encode_conversation
from tinylm.data.dataset.held_out import HeldOut
from tinylm.data.dataset.packing import PackedConversations, PackedDocuments
from tinylm.data.dataset.tokens import tokenize_all


def chat(*contents, system=None):
    turns = [] if system is None else [{"role": "system", "content": system}]
    return turns + [
        {"role": "assistant" if index % 2 else "user", "content": content} for index, content in enumerate(contents)
    ]


def split_held_out(examples, fraction, *, notify=lambda _: None, **options):
    """What training and validation get."""
    held_out = HeldOut(fraction, **options)
    for example in examples:
        held_out.add(example)
    split = held_out.decide()
    for note in split.notes:
        notify(note)
    parts = list(split.divide(examples))
    held = {key(example): example for example, is_held_out in parts if is_held_out}
    return [example for example, is_held_out in parts if not is_held_out], list(held.values())


class Packed:
    """All rows at once."""

    def __init__(self, rows, number_of_pass=0):
        self.ids, self.supervised, self.segments = rows.read(range(len(rows)), number_of_pass)
        self.notes = getattr(rows, "notes", None)


def pack_documents(sequences, tokenizer, context_length, seed):
    return Packed(PackedDocuments(TokenArray(sequences.ids), bounds_of(sequences), tokenizer, context_length, seed))


def pack_conversations(conversations, tokenizer, context_length, seed, number_of_pass=0):
    data = tokenize_all(conversations, tokenizer)
    rows = PackedConversations(TokenArray(data.ids), bounds_of(data), tokenizer, context_length, seed)
    return Packed(rows, number_of_pass)


def key(example):
    return json.dumps(example)


def contains(row, part):
    return any(row[start : start + len(part)] == part for start in range(len(row) - len(part) + 1))


TEXTS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=2, max_size=60)


@settings(deadline=None, max_examples=100)
@given(documents=TEXTS, fraction=st.floats(0.01, 0.5))
def test_nothing_is_on_both_sides_and_nothing_is_lost(documents, fraction):
    training, held_out = split_held_out(documents, fraction)
    assert not set(training) & set(held_out)
    assert set(training) | set(held_out) == set(documents)
    assert len(held_out) == len(set(held_out))
    assert training == [document for document in documents if document in set(training)]
    assert training
    assert bool(held_out) == (len(set(documents)) > 1)


@settings(deadline=None, max_examples=60)
@given(documents=TEXTS, data=st.data())
def test_the_split_follows_the_content_and_not_the_order(documents, data):
    shuffled = data.draw(st.permutations(documents))
    assert set(split_held_out(documents, 0.2)[1]) == set(split_held_out(shuffled, 0.2)[1])


@pytest.mark.parametrize(("fraction", "expected"), [(0.02, 20), (0.1, 100), (0.5, 500), (0.0001, 1)])
def test_the_wanted_part_is_held_out(fraction, expected):
    training, held_out = split_held_out([f"document {number}" for number in range(1000)], fraction)
    assert (len(training), len(held_out)) == (1000 - expected, expected)


def test_the_split_is_the_same_everywhere():
    _, held_out = split_held_out([f"document {number}" for number in range(100)], 0.03)
    assert held_out == ["document 50", "document 52", "document 95"]


def test_held_out_text_has_a_limit():
    documents = [f"{number:04}" * 25 for number in range(1000)]
    _, held_out = split_held_out(documents, 0.5, max_characters=1000)
    assert sum(map(len, held_out)) == 1000


def test_conversations_are_split_whole():
    conversations = [chat(f"question {number % 50}", "answer") for number in range(100)]
    training, held_out = split_held_out(conversations, 0.1)
    assert not set(map(key, training)) & set(map(key, held_out))
    assert len(held_out) == 5
    assert len(training) == 90


@pytest.mark.parametrize(
    ("examples", "fraction", "word"),
    [
        (["a"] * 5, 0.1, "all examples are the same"),
        (["short"], 0.1, "one short document"),
        ([], 0.1, "only 0 example(s)"),
        ([chat("a", "b")], 0.1, "only 1 example(s)"),
        ([chat(str(n), "b") for n in range(4)], 0.1, "only 4 example(s)"),
        (["a", "b", "c"], 0, "validation_fraction is 0"),
        ([chat(str(n), "b") for n in range(9)], 0.0, "validation_fraction is 0"),
    ],
)
def test_where_nothing_can_be_held_out_it_is_said(examples, fraction, word):
    words = []
    assert split_held_out(examples, fraction, notify=words.append) == (examples, [])
    assert len(words) == 1
    assert word in words[0]
    assert "without validation" in words[0]


@pytest.mark.parametrize(
    ("document", "fraction", "least", "most", "mark"),
    [
        ("one line of text\n" * 1000, 0.02, 340, 540, "\n"),
        ("word " * 400, 0.02, 200, 400, " "),
        ("x" * 2000, 0.02, 200, 200, "x"),
        ("x" * 2000, 0.5, 1000, 1000, "x"),
    ],
)
def test_a_lone_document_gives_its_end(document, fraction, least, most, mark):
    words = []
    (training,), (held_out,) = split_held_out([document], fraction, notify=words.append)
    assert training + held_out == document
    assert least <= len(held_out) <= most
    assert training.endswith(mark)
    assert words == [f"one document: its last {len(held_out):,} characters are held out for validation"]


def test_the_end_of_a_lone_document_has_the_limit_too():
    _, (held_out,) = split_held_out(["x" * 100_000], 0.5, max_characters=3000)
    assert len(held_out) == 3000


def test_documents_become_their_ids_and_an_end():
    data = tokenize_all(["ab", "", "c"], Letters())
    assert data.ids.tolist() == [97, 98, EOS, EOS, 99, EOS]
    assert data.ends.tolist() == [3, 4, 6]
    assert data.supervised.all()
    assert len(tokenize_all([], Letters())) == 0


def test_many_documents_keep_their_order():
    texts = [chr(97 + number % 26) for number in range(9000)]
    data = tokenize_all(iter(texts), Letters())
    assert data.ids[::2].tolist() == [ord(text) for text in texts]
    assert len(data) == 9000


def test_conversations_become_turns_without_the_opening():
    data = tokenize_all([chat("a", "b", system="S"), chat("c", "d")], Letters())
    assert data.ids.tolist() == [SYSTEM, 83, USER, 97, ASSISTANT, 98, EOS, USER, 99, ASSISTANT, 100, EOS]
    assert np.flatnonzero(data.supervised).tolist() == [5, 6, 10, 11]
    assert data.ends.tolist() == [7, 12]


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    context=st.integers(2, 40),
    seed=st.integers(0, 9),
    number=st.integers(0, 50),
)
def test_each_token_is_a_target_of_each_pass_once(lengths, context, seed, number):
    numbers = iter(range(10, 10_000))
    documents = [[*(next(numbers) for _ in range(length)), EOS] for length in lengths]
    data = join(documents)
    rows = PackedDocuments(TokenArray(data.ids), bounds_of(data), Letters(), context, seed)
    ids, supervised, segments = rows.read(range(len(rows)), number)
    assert ids.shape == segments.shape == (len(rows), context + 1)
    # Where a document begins, a segment does; what fills the row up belongs to any
    opened = np.diff(segments, axis=1, prepend=0) == 1
    assert ((ids[:, 1:-1] == BOS) & supervised[:, 2:] == opened[:, 1:-1] & supervised[:, 2:]).all()
    assert (ids[opened] == BOS).all()
    assert (ids[:, 0] == BOS).all()
    assert supervised.any(axis=1).all()
    assert Counter(ids[supervised].tolist()) == Counter(data.ids.tolist())
    # What follows a token is the same everywhere but behind a document's end
    following = {a: b for document in documents for a, b in pairwise([*document, BOS])}
    openings = {document[0] for document in documents}
    for row, flags in zip(ids.tolist(), supervised.tolist(), strict=True):
        for before, after, flag in zip(row[1:], row[2:], flags[2:], strict=False):
            assert not flag or after != BOS
            if after == BOS:
                assert before in (EOS, BOS)
            else:
                assert after in openings if before == BOS else after == following[before]
    assert np.array_equal(rows.read([0], number)[0], ids[:1])


def test_the_last_row_begins_earlier_with_the_known_targets_masked():
    rows = pack_documents(join([[*range(10, 25), EOS]]), Letters(), 12, 0)
    assert rows.ids.tolist() == [[BOS, *range(10, 22)], [BOS, *range(15, 25), EOS, BOS]]
    assert rows.supervised.tolist() == [[False] + [True] * 12, [False] * 8 + [True] * 4 + [False]]


def test_a_text_of_less_than_a_row_is_padded():
    rows = pack_documents(join([[10, 11, EOS]]), Letters(), 8, 0)
    assert rows.ids.tolist() == [[BOS, 10, 11, EOS, BOS, BOS, BOS, BOS, BOS]]
    assert rows.supervised.tolist() == [[False, True, True, True] + [False] * 5]


def test_documents_are_shuffled_by_the_seed():
    data = join([[number, EOS] for number in range(10, 60)])
    first, same, other = (pack_documents(data, Letters(), 5, seed).ids.tolist() for seed in (1, 1, 2))
    assert first == same != other


def test_passes_differ_in_order_and_in_where_rows_begin():
    data = join([[*range(10 * number, 10 * number + 7), EOS] for number in range(1, 40)])
    rows = PackedDocuments(TokenArray(data.ids), bounds_of(data), Letters(), 5, 0)
    passes = [rows.read(range(len(rows)), number)[0] for number in range(4)]
    assert all(not np.array_equal(one, other) for one, other in combinations(passes, 2))
    lone = join([[*range(10, 200), EOS]])
    rows = PackedDocuments(TokenArray(lone.ids), bounds_of(lone), Letters(), 16, 0)
    assert len({int(rows.read([0], number)[0][0, 1]) for number in range(6)}) > 4


CONVERSATIONS = st.lists(
    st.builds(
        lambda turns, system: chat(*turns, system=system),
        st.lists(st.text("abcdefgh", max_size=6), min_size=2, max_size=6).filter(lambda turns: len(turns) % 2 == 0),
        st.none() | st.text("ST", max_size=4),
    ),
    min_size=1,
    max_size=25,
)


def expected_flags(row):
    """What the model is to say in a row, by its symbols alone: all after <assistant> up to and with <eos>."""
    flags, saying = [], False
    for id_ in row:
        flags.append(saying and id_ not in (BOS, SYSTEM, USER, ASSISTANT))
        saying = (saying or id_ == ASSISTANT) and id_ not in (BOS, SYSTEM, USER, EOS)
    return flags


@settings(deadline=None, max_examples=100)
@given(conversations=CONVERSATIONS, seed=st.integers(0, 9), number_of_pass=st.integers(0, 3))
def test_rows_of_conversations(conversations, seed, number_of_pass):
    rows = pack_conversations(conversations, Letters(), 47, seed, number_of_pass)
    assert rows.ids.shape == rows.supervised.shape == (len(rows.ids), 48)
    encoded = [tuple(encode_conversation(Letters(), conversation)) for conversation in conversations]
    wanted = Counter(ids for ids in encoded if len(ids) <= 48)
    some_are_cut = sum(wanted.values()) < len(conversations)
    assert (rows.notes["cut_between_turns"] > 0) == some_are_cut
    found = Counter()
    for row, flags in zip(rows.ids.tolist(), rows.supervised.tolist(), strict=True):
        assert row[0] == BOS
        assert flags == expected_flags(row)
        assert any(flags)
        starts = [index for index, id_ in enumerate(row) if id_ == BOS]
        found.update(tuple(row[start:end]) for start, end in zip(starts, [*starts[1:], 48], strict=True))
    # Each conversation is a segment; the padding belongs to the last one
    openings = rows.ids[:, :-1] == BOS
    opened = np.diff(rows.segments, axis=1, prepend=-1) == 1
    assert (opened[:, :-1] & rows.supervised[:, 1:] == 0).all()
    assert (openings >= opened[:, :-1]).all()
    said = rows.ids[:, 1:] != BOS
    assert (openings & said == opened[:, :-1] & said).all()
    del found[(BOS,)]  # padding
    # Each is there once
    assert wanted <= found
    assert some_are_cut or found == wanted


def test_conversations_that_fill_rows_exactly_are_there_once_each():
    # <bos> <user> x <assistant> y <eos>: 6 tokens, so that 4 make a row of 23 + 1
    conversations = [chat(chr(97 + number), chr(65 + number)) for number in range(20)]
    rows = pack_conversations(conversations, Letters(), 23, 0)
    assert rows.ids.shape == (5, 24)
    parts = Counter(tuple(part) for row in rows.ids.tolist() for part in np.array(row).reshape(4, 6).tolist())
    assert parts == Counter(tuple(encode_conversation(Letters(), conversation)) for conversation in conversations)
    assert rows.notes == {"conversations": 20, "cut_between_turns": 0, "turns_truncated": 0, "parts_without_reply": 0}


def test_a_later_pass_orders_the_conversations_of_a_row_anew():
    conversations = [chat(chr(97 + number), chr(65 + number)) for number in range(20)]
    first, second = (pack_conversations(conversations, Letters(), 23, 0, number).ids for number in (0, 1))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first, axis=1), np.sort(second, axis=1))


def test_the_end_of_a_row_is_padded():
    rows = pack_conversations([chat("abc", "de")], Letters(), 13, 0)
    whole = encode_conversation(Letters(), chat("abc", "de"))
    assert rows.ids.tolist() == [[*whole, *[BOS] * (14 - len(whole))]]
    assert rows.supervised.tolist() == [expected_flags(rows.ids[0].tolist())]


def test_a_long_conversation_is_cut_between_turns_with_its_system_message():
    turns = [text for number in range(6) for text in (f"q{number}", f"reply{number}")]
    rows = pack_conversations([chat(*turns, system="SYS")], Letters(), 31, 0)
    assert rows.notes == {"conversations": 1, "cut_between_turns": 1, "turns_truncated": 0, "parts_without_reply": 0}
    opening = [BOS, SYSTEM, *map(ord, "SYS")]
    for row in rows.ids.tolist():
        assert row[:5] == opening
        assert row[5] == USER
    exchanges = [[USER, *map(ord, f"q{n}"), ASSISTANT, *map(ord, f"reply{n}"), EOS] for n in range(6)]
    # Two exchanges of 11 and the opening of 5 are 27 of 32
    parts = [opening + exchanges[n] + exchanges[n + 1] for n in (0, 2, 4)]
    assert all(any(row[:27] == part for row in rows.ids.tolist()) for part in parts)


def test_a_giant_turn_loses_its_end_and_is_counted():
    rows = pack_conversations([chat("q", "x" * 500)], Letters(), 31, 0)
    assert rows.ids.tolist() == [[BOS, USER, ord("q"), ASSISTANT, *[ord("x")] * 28]]
    assert rows.supervised.tolist() == [[False] * 4 + [True] * 28]
    assert rows.notes == {"conversations": 1, "cut_between_turns": 1, "turns_truncated": 1, "parts_without_reply": 0}


def test_a_giant_system_message_leaves_half_the_room():
    rows = pack_conversations([chat("q", "reply", system="S" * 500)], Letters(), 31, 0)
    assert rows.ids[0, :17].tolist() == [BOS, SYSTEM, *[ord("S")] * 15]
    assert rows.ids[0, 17:27].tolist() == [USER, ord("q"), ASSISTANT, *map(ord, "reply"), EOS, BOS]
    assert rows.notes["turns_truncated"] == 1


def test_a_question_that_leaves_no_room_for_its_reply_is_left_out_and_counted():
    rows = pack_conversations([chat("x" * 500, "lost", "q", "kept")], Letters(), 31, 0)
    assert rows.notes == {"conversations": 1, "cut_between_turns": 1, "turns_truncated": 2, "parts_without_reply": 1}
    assert all(not contains(row, [ord("x")]) for row in rows.ids.tolist())
    assert contains(rows.ids[0].tolist(), [BOS, USER, ord("q"), ASSISTANT, *map(ord, "kept"), EOS])


@pytest.mark.parametrize("conversations", [[], [chat("x" * 500, "lost")]])
def test_no_reply_at_all(conversations):
    with pytest.raises(ValueError, match="no conversation has an assistant's turn that fits"):
        pack_conversations(conversations, Letters(), 31, 0)

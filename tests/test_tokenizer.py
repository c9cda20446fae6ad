"""The tokenizer and the chat format: nothing is lost, and no text becomes a control symbol."""

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.chat_format import (
    encode_conversation,
    encode_examples,
    encode_prompt,
    encode_text_prompt,
    encode_turn,
    loss_mask,
    own_format,
)
from tinylm.config import TokenizerConfig
from tinylm.errors import TinyLMError
from tinylm.tokenizer import (
    CONTROL_PIECES,
    ROLE_PIECES,
    SentencePieceTokenizer,
    StreamDecoder,
    load_tokenizer,
    train_tokenizer,
)

TAGS = [
    "<bos>",
    "<eos>",
    "<user>",
    "<assistant>",
    "<system>",
    "<unk>",
    "<s>",
    "</s>",
    "<pad>",
    "<0x0A>",
    "<|endoftext|>",
]
ENGLISH = "The quick brown fox jumps over the lazy dog.\nPack my box with five dozen liquor jugs, 1234567890 times!\n"
CHINESE = "天地玄黄。宇宙洪荒。日月盈昃。辰宿列张。寒来暑往。秋收冬藏。闰余成岁。律吕调阳。云腾致雨。露结为霜。\n"
CORPORA = {
    "english": [ENGLISH * 20],
    "chinese": [CHINESE * 3],
    "tags": [" ".join(TAGS) + "".join(TAGS) + "\n<user> hello <assistant> hi </s>\n"] * 50,
    "code": ["if x:\n\treturn  [a,\tb]\n\n\n    else:\r\n        pass" * 20],
    "emoji": ["👩‍👩‍👧 ok 👍🏽\n" * 30],
    "one character": ["a"],
}
SPECIAL = [
    "\0",
    "\u2581",
    "\u2585",
    "\u2047",
    "\ufffd",
    "\t",
    "\n",
    "\r\n",
    " ",
    "   ",
    "\u00a0",
    "\u3000",
    "\ufeff",
    "é",
    "e\u0301",
    "👩‍👩‍👧",
]
# Every code point but the surrogates, with what is likely to go wrong made likely
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from([*TAGS, *SPECIAL, "The", " quick", "hello", "天", "7"]), max_size=30).map("".join),
)


@cache
def tokenizer(corpus, vocab_size=340):
    return train_tokenizer(CORPORA[corpus], vocab_size, TokenizerConfig())


def told(texts, vocab_size, **config):
    words = []
    made = train_tokenizer(texts, vocab_size, TokenizerConfig(**config), notify=words.append)
    return made, words


def forbidden(made):
    return {made.unk_id, made.bos_id, made.eos_id, *made.role_ids.values()}


@pytest.mark.parametrize("corpus", CORPORA)
@settings(deadline=None, max_examples=80)
@given(text=TEXT)
def test_text_comes_back_unchanged_and_never_as_a_control_symbol(corpus, text):
    made = tokenizer(corpus)
    ids = made.encode(text)
    assert made.decode(ids) == text
    assert not forbidden(made) & set(ids)
    assert all(0 <= id_ < made.vocab_size for id_ in ids)


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize(
    "text", [*TAGS, *SPECIAL, "".join(TAGS), "\0\u2581\0 \u2581a", "▁▁ ▁", "\n\n\n", "x" * 5000, ""]
)
def test_awkward_texts(corpus, text):
    made = tokenizer(corpus)
    ids = made.encode(text)
    assert made.decode(ids) == text
    assert not forbidden(made) & set(ids)


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters()))
def test_lone_surrogates_become_replacement_characters(text):
    made = tokenizer("english")
    expected = "".join("\ufffd" if 0xD800 <= ord(character) < 0xE000 else character for character in text)
    assert made.decode(made.encode(text)) == expected


def test_a_lone_surrogate_in_the_training_text_does_no_harm():
    made, _ = told([ENGLISH * 5 + "\udc80 end"], 300)
    assert made.decode(made.encode("a\ud83db")) == "a\ufffdb"


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(TEXT, max_size=8), threads=st.integers(1, 2))
def test_a_batch_equals_one_by_one(texts, threads):
    made = tokenizer("english")
    assert made.encode_batch(texts, threads) == [made.encode(text) for text in texts]


@settings(deadline=None, max_examples=100)
@given(text=st.text("ab \n\n\n\r\u2581\0\u00e9\u4e2d", max_size=80), size=st.integers(1, 20))
def test_a_long_text_is_tokenized_in_pieces_with_the_same_tokens(text, size):
    from tinylm.tokenizer import interface

    made = tokenizer("code")
    whole = made.encode_batch([text, "next"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interface, "_PART_CHARACTERS", size)
        parts = interface.parts_of(text, re.compile("\n"))
        assert "".join(parts) == text
        assert all(len(part) > size for part in parts[:-1])
        assert made.encode_batch([text, "next"]) == whole


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_streamed_chunks_join_to_the_whole_decode(data):
    made = tokenizer("chinese")
    any_id = st.integers(0, made.vocab_size - 1)
    byte_id = st.sampled_from([id_ for id_, piece in enumerate(made.pieces()) if piece.startswith("<0x")])
    chunks = data.draw(st.lists(st.lists(any_id | byte_id, max_size=6), max_size=8))
    decoder = StreamDecoder(made)
    streamed = "".join(decoder.feed(chunk) for chunk in chunks) + decoder.finish()
    ids = [id_ for chunk in chunks for id_ in chunk]
    table = made.token_bytes()
    assert streamed == made.decode(ids) == b"".join(table[id_] for id_ in ids).decode("utf-8", "replace")


def test_an_unfinished_character_is_held_back():
    made = tokenizer("one character")
    ids = made.encode("é")
    assert len(ids) == 2
    decoder = StreamDecoder(made)
    assert [decoder.feed(ids[:1]), decoder.feed(ids[1:]), decoder.finish()] == ["", "é", ""]
    assert [decoder.feed(ids[:1]), decoder.finish()] == ["", "\ufffd"]


@settings(deadline=None, max_examples=60)
@given(text=TEXT)
def test_token_bytes_add_up_to_the_text(text):
    made = tokenizer("tags")
    table = made.token_bytes()
    assert b"".join(table[id_] for id_ in made.encode(text)) == text.encode("utf-8")


@pytest.mark.parametrize("corpus", CORPORA)
def test_control_symbols(corpus):
    made = tokenizer(corpus)
    pieces = made.pieces()
    assert len(pieces) == len(set(pieces)) == made.vocab_size == len(made.token_bytes())
    ids = [made.bos_id, made.eos_id, *made.role_ids.values()]
    assert [pieces[id_] for id_ in ids] == list(CONTROL_PIECES)
    assert {role: pieces[id_] for role, id_ in made.role_ids.items()} == ROLE_PIECES
    assert [made.token_bytes()[id_] for id_ in ids] == [b""] * len(ids)
    assert made.decode([made.bos_id, *made.encode("a"), made.eos_id]) == "a"
    assert {f"<0x{byte:02X}>" for byte in range(256)} <= set(pieces)


def test_all_but_the_end_may_not_be_sampled():
    made = tokenizer("english")
    assert sorted(made.never_sampled) == sorted(forbidden(made) - {made.eos_id})


def test_the_wanted_size_is_reached_where_the_text_fills_it():
    made, words = told([ENGLISH * 20], 370)
    assert made.vocab_size == 370
    assert words == []


def test_a_vocabulary_that_the_text_cannot_fill_is_lowered_aloud():
    made, words = told([ENGLISH], 4096)
    assert 262 < made.vocab_size < 4096
    assert words == [f"the data fills a vocabulary of {made.vocab_size:,}, not of 4,096: model.vocab_size is lowered"]
    assert made.decode(made.encode(ENGLISH)) == ENGLISH


@pytest.mark.parametrize("vocab_size", [264, 265, 270, 280, 300])
def test_many_different_characters_in_a_tiny_vocabulary(vocab_size):
    made, words = told([CHINESE * 3], vocab_size)
    assert made.vocab_size == vocab_size
    assert [word for word in words if "spelled as bytes" in word]
    assert made.decode(made.encode(CHINESE)) == CHINESE


def test_one_character_is_enough_to_train_on():
    made, _ = told(["a"], 300)
    assert "a" in made.pieces()


@pytest.mark.parametrize("texts", [[], [""], ["", "  \n\n \t"], ["\0\u2581\t"]])
def test_no_text_at_all(texts):
    with pytest.raises(TinyLMError, match="no text"):
        told(texts, 300)


@pytest.mark.parametrize("corpus", ["one character", "chinese"])
def test_a_space_is_a_space_where_the_training_text_has_none(corpus):
    made, _ = told([CORPORA[corpus][0].replace(" ", "")], 600)
    assert "\u2581" in made.pieces()
    assert made.decode(made.encode(" a  \u2581 b ")) == " a  \u2581 b "


def test_equal_texts_give_equal_bytes():
    first, second = (told([ENGLISH * 20, CHINESE], 320)[0].serialized() for _ in range(2))
    assert first == second
    assert SentencePieceTokenizer(first).serialized() == first
    assert told([ENGLISH * 20], 320)[0].serialized() != first


@pytest.mark.parametrize(("split", "tokens"), [(True, 7), (False, 1)])
def test_digits_are_tokens_of_their_own_where_wanted(split, tokens):
    made, _ = told(["call 123456 now\n" * 200], 400, split_digits=split)
    assert len(made.encode(" 123456")) == tokens


@pytest.mark.parametrize("line", ["word " * 40_000, "x" * 100_000])
def test_a_sample_is_taken_of_more_text_than_wanted(line):
    made, _ = told([line, *[f"line {number}\n" * 30 for number in range(300)]], 280, max_sample_megabytes=0.01)
    assert made.decode(made.encode(line[:100])) == line[:100]


def test_the_sample_spreads_over_all_texts():
    texts = [f"{letter * 6}\n" * 50 for letter in "abcdefghijklmnopqrst" for _ in range(20)]
    made, _ = told(texts, 320, max_sample_megabytes=0.01)
    assert set("abcdefghijklmnopqrst") <= set(made.pieces())


def foreign_model():
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([ENGLISH]), model_writer=model, vocab_size=50, model_type="bpe", minloglevel=2
    )
    return model.getvalue()


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda: b"", "not a SentencePiece model"),
        (lambda: b"\x00\x01garbage" * 9, "not a SentencePiece model"),
        (lambda: b"\n\x00", "not a SentencePiece model"),
        (lambda: tokenizer("english").serialized()[:1000], "not a SentencePiece model"),
        (foreign_model, "not a tokenizer of TinyLM"),
    ],
    ids=["empty", "garbage", "no pieces", "truncated", "foreign"],
)
def test_bytes_that_are_no_tokenizer(tmp_path, model, problem):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model())
    with pytest.raises(TinyLMError, match=problem) as error:
        load_tokenizer(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_comes_back_and_a_missing_one_is_named(tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(tokenizer("english").serialized())
    assert load_tokenizer(path).encode(ENGLISH) == tokenizer("english").encode(ENGLISH)
    with pytest.raises(TinyLMError, match=r"gone\.model: cannot be read \(No such file"):
        load_tokenizer(tmp_path / "gone.model")


class Spelling:
    """A tokenizer of one id a character, to read the chat format by."""

    chat_format = own_format(1, 2, {"system": 3, "user": 4, "assistant": 5})

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]


CONVERSATION = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "ab"},
    {"role": "assistant", "content": "C"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": ""},
]


def test_the_chat_format():
    s, a, b, c = map(ord, "SabC")
    ids = encode_conversation(Spelling(), CONVERSATION)
    assert ids == [1, 3, s, 4, a, b, 5, c, 2, 4, 5, 2]
    supervised = loss_mask(Spelling(), np.array(ids)).tolist()
    assert [id_ for id_, flag in zip(ids, supervised, strict=True) if flag] == [c, 2, 2]
    assert supervised == [False, False, False, False, False, False, False, True, True, False, False, True]


def test_many_examples_are_encoded_as_each_alone():
    document, conversation = encode_examples(Spelling(), ["ab", CONVERSATION])
    assert document == [ord("a"), ord("b"), 2]
    assert [1, *document[:-1]] == encode_text_prompt(Spelling(), "ab")
    assert [1, *conversation] == encode_conversation(Spelling(), CONVERSATION)
    assert encode_examples(Spelling(), ["", [], "c"]) == [[2], [], [ord("c"), 2]]


def test_the_mask_of_a_row_of_documents_and_conversations():
    rows = np.array([[1, 70, 71, 2, 1, 4, 70, 5, 71, 2], [71, 2, 1, 3, 70, 4, 71, 5, 2, 1]])
    assert loss_mask(Spelling(), rows).tolist() == [
        [False, True, True, True, False, False, False, False, True, True],
        [True, True, False, False, False, False, False, False, True, False],
    ]


def test_a_turn():
    assert encode_turn(Spelling(), CONVERSATION[1]) == [4, ord("a"), ord("b")]
    assert encode_turn(Spelling(), CONVERSATION[2]) == [5, ord("C"), 2]


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_a_prompt_is_the_beginning_of_the_conversation_that_comes_of_it(turns):
    prompt = encode_prompt(Spelling(), CONVERSATION[:turns])
    assert prompt[-1] == 5
    if CONVERSATION[turns]["role"] == "assistant":
        assert encode_conversation(Spelling(), CONVERSATION)[: len(prompt)] == prompt


@settings(deadline=None, max_examples=60)
@given(contents=st.lists(TEXT, min_size=2, max_size=2))
def test_tags_in_a_turn_stay_text(contents):
    made = tokenizer("tags")
    conversation = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), contents, strict=True)]
    ids = encode_conversation(made, conversation)
    supervised = loss_mask(made, np.array(ids)).tolist()
    assert [id_ for id_ in ids if id_ in forbidden(made)] == [
        made.bos_id,
        made.role_ids["user"],
        made.role_ids["assistant"],
        made.eos_id,
    ]
    assert made.decode([id_ for id_, flag in zip(ids, supervised, strict=True) if flag]) == contents[1]
    assert made.decode(ids) == "".join(contents)

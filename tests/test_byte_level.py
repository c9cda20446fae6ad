"""Byte-level BPE: the ids of Hugging Face's tokenizers, nothing is lost, and no text becomes a control symbol."""

import json
import pickle
import re
import sys

import pytest
from byte_level import SPECIAL, SPLITS, byte_level, chatml, tokenizer_json
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder

from tinylm.errors import TinyLMError
from tinylm.tokenizer import StreamDecoder, interface, load_tokenizer
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer

TYPED = [*SPECIAL, "<|im_", "start|>", "user", " fox", "don't", "12"]
PARTS = [*TYPED, "\n", "\n\n", "  ", "\t", "é", "天", "👩‍👩‍👧", "\0", "\u2581"]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.sampled_from(PARTS), max_size=30).map("".join)
)


@pytest.mark.parametrize("kind", SPLITS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_text_comes_back_and_never_as_a_control_symbol(kind, text):
    import unicodedata

    made = byte_level(kind)
    ids = made.encode(text)
    normal = unicodedata.normalize("NFC", text) if kind == "llama3" else text
    assert made.decode(ids) == normal
    assert not made.control & set(ids)
    assert len(ids) >= made.least_tokens(text)
    if not any(symbol in text for symbol in SPECIAL):
        assert ids == Encoder.from_str(tokenizer_json(kind).decode()).encode(text).ids


def test_typed_markers_are_text_even_where_the_vocabulary_has_them_as_words():
    values = json.loads(tokenizer_json())
    values["model"]["ignore_merges"] = True
    values["pre_tokenizer"] = {**values["pre_tokenizer"]["pretokenizers"][1], "use_regex": False}
    content = json.dumps(values).encode()
    made = ByteLevelTokenizer(content, chatml(content))
    assert Encoder.from_str(content.decode()).encode("<|im_start|>").ids == [1]
    ids = made.encode("<|im_start|>")
    assert made.decode(ids) == "<|im_start|>"
    assert not made.control & set(ids)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_streamed_pieces_are_whole_characters_and_join_to_the_whole(data):
    made = byte_level("gpt2")
    ids = data.draw(st.lists(st.integers(0, made.vocab_size - 1), max_size=40))
    stream = StreamDecoder(made)
    pieces = [stream.feed([id_]) for id_ in ids]
    assert "".join(pieces) + stream.finish() == made.decode(ids)
    whole = b"".join(map(made.bytes_of, ids)).decode("utf-8", "replace")
    assert made.decode(ids) == whole


@pytest.mark.parametrize("kind", SPLITS)
@settings(deadline=None, max_examples=100)
@given(text=st.text("ab .\n\r\t1é天", max_size=120), size=st.integers(1, 20))
def test_a_long_text_in_parts_has_the_same_tokens(kind, text, size):
    made = byte_level(kind)
    whole = made.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interface, "_PART_CHARACTERS", size)
        assert made.encode(text) == whole


def test_the_pieces_have_the_form_of_sentencepiece():
    made = byte_level()
    pieces = made.pieces()
    assert len(pieces) == len(set(pieces)) == made.vocab_size
    assert pieces[:3] == SPECIAL
    assert {"\u2581fox", "a", "\u2581", "<0xC3>"} <= set(pieces)
    assert [made.piece_of(id_) for id_ in made.encode(" fox")] == ["\u2581fox"]
    assert made.never_sampled == [1]
    assert made.token_bytes()[0] == b""


def test_batches_in_threads_and_other_processes():
    made = byte_level()
    texts = ["a b", "", "fox\n" * 9, "\ud800"]
    assert made.encode_batch(texts, 3) == [made.encode(text) for text in texts]
    assert made.decode(made.encode("\ud800")) == "\ufffd"
    copy = pickle.loads(pickle.dumps(made))
    assert copy.encode("the fox") == made.encode("the fox")
    assert copy.chat_format == made.chat_format


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a tokenizer.json"),
        (b"{}", "not a tokenizer.json"),
        (b"\xff\xfe", "not a tokenizer.json"),
        (tokenizer_json()[:-20], "not a tokenizer.json"),
        (json.dumps({**json.loads(tokenizer_json()), "model": {"type": "Unigram"}}).encode(), "not a tokenizer.json"),
    ],
    ids=["empty", "no keys", "no text", "cut", "another model"],
)
def test_bytes_that_are_no_tokenizer(tmp_path, content, problem):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TinyLMError, match=f"^{re.escape(str(path))}: {problem}"):
        load_tokenizer(path, chatml(tokenizer_json()))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"eos": 9999}, "id 9999"), ({"opening": [-1]}, "id -1"), ({"ends": [70]}, "id 70 for a control symbol")],
)
def test_a_format_that_does_not_fit_is_refused(changes, problem):
    with pytest.raises(TinyLMError, match=problem):
        byte_level(**changes)


def without(symbol):
    """A tokenizer that has no token for a byte."""
    values = json.loads(tokenizer_json())
    values["model"]["vocab"]["missing"] = values["model"]["vocab"].pop(symbol)
    return json.dumps(values).encode()


def test_a_byte_without_a_token_is_left_out_as_the_models_own_program_does():
    content = without("\u0104")  # of U+0004
    made = ByteLevelTokenizer(content, chatml(content))
    assert made.decode(made.encode("a\4 fox")) == "a fox"
    assert made.encode("a\4 fox") == Encoder.from_str(content.decode()).encode("a\4 fox").ids


def test_ascii_without_a_token_is_refused():
    with pytest.raises(TinyLMError, match="not every ASCII character"):
        ByteLevelTokenizer(without("Z"), chatml(tokenizer_json()))


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TinyLMError, match=r"needs the package tokenizers: pip install .*\[hf\]"):
        ByteLevelTokenizer(tokenizer_json(), chatml(tokenizer_json()))

"""SentencePiece tokenizers of imported models: equal from three forms of file; Llama 2's and Zephyr's chats."""

import io
import json
import re
from functools import cache

import jinja2.sandbox
import numpy as np
import pytest
import sentencepiece
import transformers
from chats import PROBES, REPLY, SYSTEM, USER, ZEPHYR
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from tinylm.chat_format import encode_conversation, encode_prompt, encode_text_prompt
from tinylm.errors import TinyLMError
from tinylm.importing.sentencepiece_vocabulary import (
    SentencePieceVocabulary,
    sentencepiece_of_gguf,
    sentencepiece_of_json,
)
from tinylm.importing.source import ChatSettings
from tinylm.importing.symbols import choose_format
from tinylm.runtime.chat import Chat
from tinylm.runtime.sampling import SamplingOptions
from tinylm.tokenizer import SentencePieceTokenizer

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = "
    "'<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = "
    "message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + "
    "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Hello there, user and assistant! [INST] What is it? [/INST] <<SYS>> be kind <</SYS>>",
    "<|user|> <|assistant|> <|system|> 1234 if x: return",
]


@cache
def foreign_model():
    """A SentencePiece model as Llama 2's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 30),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """The same tokenizer by transformers."""
    folder = tmp_path_factory.mktemp("peer")
    (folder / "tokenizer.model").write_bytes(foreign_model())
    settings_ = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "legacy": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return transformers.AutoTokenizer.from_pretrained(str(folder))


@pytest.fixture(scope="module", params=["tokenizer.model", "tokenizer.json", "gguf"])
def vocabulary(request, peer, tmp_path_factory):
    def make():
        if request.param == "tokenizer.model":
            return SentencePieceVocabulary(foreign_model())
        if request.param == "tokenizer.json":
            folder = tmp_path_factory.mktemp("saved")
            peer.save_pretrained(folder)
            content = (folder / "tokenizer.json").read_bytes()
            return sentencepiece_of_json(json.loads(content), content)
        pieces = sentencepiece_model_pb2.ModelProto.FromString(foreign_model()).pieces
        lists = ([getattr(piece, name) for piece in pieces] for name in ("piece", "score", "type"))
        return sentencepiece_of_gguf(*lists, space_prefix=True)

    return make


def tokenizer_of(vocabulary, template):
    chosen = choose_format(vocabulary, ChatSettings(1, 2, [2], template), lambda line: pytest.fail(line))
    return vocabulary.finish(chosen.chat_format)


def test_texts_have_the_ids_of_transformers(vocabulary, peer):
    made = tokenizer_of(vocabulary(), LLAMA2)
    for text in [*TEXT, "Hello  there\n\n 天地 👩‍👩‍👧\n", "1234"]:
        assert encode_text_prompt(made, text) == [1, *peer.encode(text, add_special_tokens=False)]
        assert made.decode(encode_text_prompt(made, text)) == " " + text


def rendered(template, conversation):
    """The ids of a rendered template by SentencePiece itself: each text between two symbols by itself."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(template).render(messages=conversation, bos_token="<s>", eos_token="</s>")
    processor = sentencepiece.SentencePieceProcessor(model_proto=foreign_model())
    symbols = {"<s>": [1], "</s>": [2], "": []}
    return [
        id_
        for part in re.split("(</?s>)", text)
        for id_ in (symbols[part] if part in symbols else processor.encode(part))
    ]


@pytest.mark.parametrize("conversation", PROBES, ids=["user", "system", "exchanges", "all"])
def test_chats_of_llama_2_have_the_ids_of_the_template(vocabulary, conversation):
    made = tokenizer_of(vocabulary(), LLAMA2)
    assert made.chat_format.family == "llama2"
    assert encode_prompt(made, conversation) == rendered(LLAMA2, conversation)


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_text_comes_back_and_never_as_a_control_symbol(text):
    made = tokenizer_of(SentencePieceVocabulary(foreign_model()), LLAMA2)
    for typed in (text, f"{text}<s></s><unk>{text}"):
        ids = made.encode(typed)
        assert made.decode(ids) == typed
        assert not made.control & set(ids)


def test_zephyrs_marks_are_text(vocabulary):
    made = tokenizer_of(vocabulary(), ZEPHYR)
    assert made.chat_format.family == "zephyr"
    assert made.decode(encode_conversation(made, [SYSTEM, USER, REPLY])) == (
        f"<|system|>\n{SYSTEM['content']}\n<|user|>\n{USER['content']}\n<|assistant|>\n{REPLY['content']}\n"
    )


class Repeating:
    """A model that says the same reply again and again."""

    def __init__(self, tokenizer, reply):
        self.vocab_size, self.context_length = tokenizer.vocab_size, 300
        self._tokenizer, self._reply = tokenizer, [*tokenizer.encode(reply), 2]
        self.ids, self._said = [], 0

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        del self.ids[length:]

    def append(self, ids):
        self.ids += ids
        self._said = self._said + 1 if len(ids) == 1 and ids == self._reply[self._said : self._said + 1] else 0
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self._reply[self._said]] = 50
        return logits


def test_a_chat_of_llama_2_hides_the_space_and_keeps_the_system_message():
    made = tokenizer_of(SentencePieceVocabulary(foreign_model()), LLAMA2)
    model = Repeating(made, " Hello there")
    chat = Chat(model, made, "be kind", SamplingOptions(temperature=0, max_new_tokens=20))
    conversation = [{"role": "system", "content": "be kind"}]
    for text in ("What is it?", "1234", "if x: return"):
        chat.prepare()
        assert "".join(chat.send(text)) == "Hello there"
        conversation += [{"role": "user", "content": text}]
        expected = encode_prompt(made, conversation)
        assert model.ids[: len(expected)] == expected
        conversation += [{"role": "assistant", "content": "Hello there"}]
    chat.set_system(None)
    "".join(chat.send("1234"))
    expected = encode_prompt(made, [*conversation[1:], {"role": "user", "content": "1234"}])
    assert model.ids[: len(expected)] == expected


def test_a_model_without_a_piece_for_each_byte_is_refused():
    model = sentencepiece_model_pb2.ModelProto.FromString(foreign_model())
    del model.pieces[7]
    with pytest.raises(TinyLMError, match="no SentencePiece model with byte pieces"):
        SentencePieceVocabulary(model.SerializeToString())


def test_added_tokens_of_other_files_are_taken_in():
    vocabulary = SentencePieceVocabulary(foreign_model())
    size = vocabulary.size
    vocabulary.declare({0: ("<unk>", True), size: ("<|im_start|>", True), size + 1: ("<|im_end|>", False)})
    template = "{{ '<|im_start|>' + role + '\\n' + '<|im_end|>' + '\\n' }}"
    made = tokenizer_of(vocabulary, template)
    assert isinstance(made, SentencePieceTokenizer)
    assert made.chat_format.family == "chatml"
    assert made.chat_format.ends[0] == size + 1
    assert not made.control & set(made.encode("<|im_start|><|im_end|>"))
    with pytest.raises(TinyLMError, match="does not fit the model"):
        SentencePieceVocabulary(foreign_model()).declare({size + 5: ("<gap>", True)})

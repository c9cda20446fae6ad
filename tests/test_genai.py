"""onnxruntime-genai on our bundles: the same ids of a text, no control symbol in it, the same tokens after it."""

import importlib.util
import json
import os
import random
import re
import shutil
from functools import cache

# onnxruntime-genai reads this while it is imported, and reports on its use without it
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime_genai  # noqa: TID251
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylm.chat_format import encode_prompt
from tinylm.config import TokenizerConfig
from tinylm.export.genai import genai_files, hf_tokenizer, last_merge
from tinylm.manifest import read_manifest
from tinylm.runtime import ChatModel
from tinylm.runtime.chat_model import DEMO_BUNDLE
from tinylm.tokenizer import CONTROL_PIECES, load_tokenizer, train_tokenizer

SCRIPTS = {
    "latin": "the quick brown fox über çağ naïve Straße ŵordz café e\u0301te\u0301 ﬁn ǆ Ⅷ ª µ ʰ",
    "greek": "το γρήγορο καφέ ἀλώπηξ ς σ Ω \u1f00\u0345",  # noqa: RUF001
    "cyrillic": "съешь же ещё этих мягких французских булок й и\u0306",
    "hebrew": "דָּג סַקְרָן שָׁט בְּיָם",
    "arabic": "نَصٌّ حَكِيمٌ لَهُ سِرٌّ ١٢٣ ﷺ لا",
    "devanagari": "ऋषियों को सताने वाले क्षत्रिय १२३ क\u094dष",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓",
    "han": "天地玄黄宇宙洪荒日月盈昃辰宿列张 〇一二 𠮷𡈽",
    "japanese": "いろはにほへとちりぬるを カタカナ ー々〆 か\u3099 ﾊﾝｶｸ",
    "hangul": "다람쥐 헌 쳇바퀴에 타고파 \u1112\u1161\u11ab",
    "emoji": "👩‍👩‍👧 👍🏽 🏳️‍🌈 ❤️ 1️⃣ 🇩🇪 😀😀 ☃",
    "symbols": "▁ ▂▃ ■□ ∑∫√ €$£ ½ ① 𝐀𝒷𝔠 → “quoted” … — !? :-) <user> <0x41> </s> <|end|>",  # noqa: RUF001
    "spaces": "a\u00a0b \u3000 \u2003\u2009 \u200b \u200d\u200c \ufeff\u2028\u2029 \u1680 \t\t \x85",
    "code": "def f(x):\r\n\treturn {'a': [1, 22, 333]}  # 0x1F\n\n    pass\r\r\n",
}
NASTY = [*CONTROL_PIECES, "<unk>", "<s>", "</s>", "<pad>", "<0x00>", "<0x41>", "\u2581<user>", "<|endoftext|>"]


def mixed_text(size, seed, words=None):
    """About `size` bytes of text of all scripts, with what is likely to go wrong made likely."""
    choose = random.Random(seed)
    words = words or [word for text in SCRIPTS.values() for word in text.split(" ")]
    makers = [
        lambda: choose.choice(words) + " ",
        lambda: choose.choice(words),
        lambda: "".join(choose.choices(choose.choice(words) or "x", k=choose.randrange(12))),
        lambda: " " * choose.randrange(9),
        lambda: choose.choice(["\n", "\r\n", "\r", "\t", "\0", "\u2581", "\0\u2581\0", " \u2581 ", "\n\n\n"]),
        lambda: choose.choice(NASTY),
        lambda: chr(choose.randrange(0x20)) + chr(choose.randrange(0x7F, 0xA1)),
        lambda: chr(choose.choice([choose.randrange(0x3000), choose.randrange(0xE000, 0x110000)])),
        lambda: choose.choice(words) + chr(choose.randrange(0x300, 0x370)) * choose.randrange(4),
        lambda: str(choose.randrange(10**9)),
    ]
    weights = [60, 10, 8, 4, 4, 2, 1, 4, 2, 2]
    parts, made = [], 0
    while made < size:
        rare = choose.random() < 0.001
        parts.append(choose.choice("ab▁ 天") * 3000 if rare else choose.choices(makers, weights)[0]())
        made += len(parts[-1].encode())
    return "".join(parts)


def periodic_text(seed):
    """Words of two letters: the pieces overlap in every way, so that the order of merges tells."""
    choose = random.Random(seed)
    return " ".join("".join(choose.choices("ab", k=choose.randrange(1, 30))) for _ in range(3000))


CORPORA = {
    "all scripts, 330": (lambda: mixed_text(60_000, 1), 330, {}),
    "all scripts, 1500": (lambda: mixed_text(300_000, 2), 1500, {}),
    "all scripts, 8000": (lambda: mixed_text(2_000_000, 3), 8000, {"split_digits": False}),
    "two letters": (lambda: periodic_text(4), 1200, {}),
    "carriage returns": (lambda: "first.\r\nsecond;\r\r\nx\r\r\r" * 300 + mixed_text(20_000, 5), 400, {}),
}
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text("ab \u2581"),
    st.lists(st.sampled_from([*NASTY, *SCRIPTS.values(), "\0", "\u2581", "  ", "\r\n"]), max_size=12).map("".join),
    st.builds(mixed_text, st.integers(0, 400), st.integers(0, 2**32)),
)


@cache
def tokenizer(corpus):
    if corpus == "demo":
        return load_tokenizer(DEMO_BUNDLE / "tokenizer.model")
    text, size, config = CORPORA[corpus]
    return train_tokenizer([text()], size, TokenizerConfig(**config))


@cache
def hugging_face(corpus):
    return tokenizers.Tokenizer.from_str(json.dumps(hf_tokenizer(tokenizer(corpus))))


def forbidden(made):
    return {made.unk_id, made.bos_id, made.eos_id, *made.role_ids.values()}


def as_genai(bundle, out, made=None):
    """A copy of a bundle with the files of onnxruntime-genai, maybe with another tokenizer."""
    shutil.copytree(bundle, out)
    manifest = read_manifest(bundle)
    made = made or load_tokenizer(bundle / "tokenizer.model")
    model_bytes = (bundle / "model.onnx").stat().st_size
    portable = not manifest.graph.contrib_operators
    for name, content in genai_files(manifest.model, made, manifest.sampling, model_bytes, portable).items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    return out


@pytest.fixture(scope="session")
def genai_runs(runs, make_run, tmp_path_factory):
    """A run of each architecture, the modern one without the token shift that onnxruntime-genai does not know."""
    changes = {"model_arch": "modern", "model_num_kv_heads": 1, "model_token_shift": "false"}
    return {
        "classic": runs["classic"],
        "modern": make_run(tmp_path_factory.mktemp("runs") / "run", steps=32, **changes),
    }


@pytest.fixture(scope="session")
def genai_bundles(bundles, genai_runs, must, tmp_path_factory):
    folder = tmp_path_factory.mktemp("genai")
    made = {key: as_genai(bundle, folder / "-".join(key)) for key, bundle in bundles.items() if key[0] == "classic"}
    for precision, options in (("fp32", ()), ("int8", ("--quantize",))):
        made["modern", precision] = folder / f"modern-{precision}"
        must("export", genai_runs["modern"], "--genai", *options, "--out", made["modern", precision])
    return made


def test_a_token_shift_is_refused(runs, run_cli, tmp_path):
    result = run_cli("export", runs["modern"], "--genai", "--out", tmp_path / "bundle")
    assert result.exit_code == 1
    assert "--genai" in result.stderr
    assert "--set model.token_shift=false" in result.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.fixture(scope="session")
def genai_tokenizer(bundle, tmp_path_factory):
    """onnxruntime-genai's own tokenizer by corpus."""

    @cache
    def load(corpus):
        folder = as_genai(bundle, tmp_path_factory.mktemp("genai-tokenizer") / "bundle", tokenizer(corpus))
        return onnxruntime_genai.Tokenizer(onnxruntime_genai.Model(str(folder)))

    return load


@pytest.fixture(scope="session")
def example(repository):
    """The example program as a module."""
    path = repository / "docs" / "examples" / "genai_chat.py"
    spec = importlib.util.spec_from_file_location("genai_chat", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# tokenizer.json in Hugging Face's tokenizers


@pytest.mark.parametrize("corpus", ["demo", *CORPORA])
def test_a_megabyte_of_mixed_text_has_the_same_ids(corpus):
    made = tokenizer(corpus)
    words = [piece.replace("\u2581", " ") for piece in made.pieces()[6 + 256 :]]
    text = mixed_text(500_000, 10) + mixed_text(500_000, 11, words)
    assert len(text.encode()) > 1_000_000
    ids = hugging_face(corpus).encode(text).ids
    assert ids == made.encode(text)
    assert hugging_face(corpus).decode(ids) == text


@pytest.mark.parametrize("corpus", ["demo", *CORPORA])
@settings(deadline=None, max_examples=100)
@given(text=TEXT)
def test_any_text_has_the_same_ids_and_no_control_symbol(corpus, text):
    made = tokenizer(corpus)
    ids = hugging_face(corpus).encode(text).ids
    assert ids == made.encode(text)
    assert not forbidden(made) & set(ids)
    assert hugging_face(corpus).decode(ids) == text


@pytest.mark.parametrize("corpus", ["demo", *CORPORA])
def test_both_forms_leave_control_symbols_out(corpus, bundle):
    made = tokenizer(corpus)
    files = genai_files(read_manifest(bundle).model, made, read_manifest(bundle).sampling, 1)
    for name in ("tokenizer.json", "genai/tokenizer.json"):
        values = json.loads(files[name])
        ids = values["model"]["vocab"].values()
        assert sorted(ids) == sorted(set(range(made.vocab_size)) - forbidden(made))
        assert values["added_tokens"] == []
    assert not any(piece.encode() in files["genai/tokenizer_config.json"] for piece in CONTROL_PIECES)


def test_a_piece_is_made_of_what_is_left_when_it_stands_alone():
    ids = {piece: id_ for id_, piece in enumerate(["bc", "ab", "abc", "cd", "abcd", "a", "b", "c", "d"])}
    assert last_merge("abc", ids) == ("a", "bc")
    assert last_merge("ab", ids) == ("a", "b")
    assert last_merge("abcd", ids) == ("abc", "d")
    assert last_merge("axd", {"axd": 0, "a": 1, "x": 2, "d": 3}) is None


# The tokenizer of onnxruntime-genai


@pytest.mark.parametrize("corpus", ["demo", *CORPORA])
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_genai_has_the_same_ids_where_no_run_is_long(corpus, text, genai_tokenizer):
    made = tokenizer(corpus)
    # NUL ends a text, U+2581 is read as a space; long runs without a space are cut, and texts before a carriage return
    text = text.translate(dict.fromkeys(map(ord, "\0\u2581\r")))
    text = re.sub(" {26,}", " " * 25, " ".join(word[:25] for word in text.split(" ")))
    ids = genai_tokenizer(corpus).encode(text).tolist()
    assert ids == made.encode(text)
    assert not forbidden(made) & set(ids)
    if text:
        assert genai_tokenizer(corpus).decode(ids) == text


@pytest.mark.parametrize("corpus", ["demo", *CORPORA])
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, repeat=st.integers(1, 20))
def test_genai_finds_no_control_symbol_in_any_text(corpus, text, repeat, genai_tokenizer):
    made = tokenizer(corpus)
    ids = genai_tokenizer(corpus).encode(text * repeat).tolist()
    assert not forbidden(made) & set(ids)
    if "\0" not in text:
        table = made.token_bytes()
        assert b"".join(table[id_] for id_ in ids).decode() == (text * repeat).replace("\u2581", " ")


def test_genai_cuts_a_long_run_and_loses_nothing(genai_tokenizer):
    made, own = tokenizer("two letters"), genai_tokenizer("two letters")
    text = "".join(periodic_text(6).split(" "))[:1000]
    ids = own.encode(text).tolist()
    assert own.decode(ids) == text
    # Cut after each 101 characters, as docs/genai.md says
    assert ids == [id_ for start in range(0, len(text), 101) for id_ in made.encode(text[start : start + 101])]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_the_stream_of_genai_joins_to_the_text(text, genai_tokenizer):
    made = tokenizer("all scripts, 330")
    stream = genai_tokenizer("all scripts, 330").create_stream()
    text = text.replace("\0", "")
    assert "".join(stream.decode(id_) for id_ in made.encode(text)) == text


# Greedy tokens


def gaps_and_tokens(model, prompt, count):
    """What our own runtime says greedily, and by how much each token leads; no control symbol is chosen."""
    model.session.truncate(0)
    logits = model.session.append(prompt)
    tokens, gaps = [], []
    while len(tokens) < count:
        allowed = logits.copy()
        allowed[list(forbidden(model.tokenizer))] = -np.inf
        second, first = np.sort(allowed)[-2:]
        gaps.append(float(first - second))
        tokens.append(int(allowed.argmax()))
        if model.session.length < model.session.context_length:
            logits = model.session.append(tokens[-1:])
    return gaps, tokens


def genai_tokens(model, prompt, count, **search):
    length = len(prompt) + count
    parameters = onnxruntime_genai.GeneratorParams(model)
    # Below its least length, a reply is kept from ending by forbidding what would end it
    parameters.set_search_options(do_sample=False, min_length=length, max_length=length, **search)
    generator = onnxruntime_genai.Generator(model, parameters)
    generator.append_tokens(prompt)
    while not generator.is_done():
        generator.generate_next_token()
    return generator.get_sequence(0).tolist()[len(prompt) :]


@pytest.mark.parametrize("arch", ["classic", "modern"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("text", ["Hello! Who are you?", "a", "zz " * 25])
def test_the_same_greedy_tokens(genai_bundles, arch, precision, text):
    folder = genai_bundles[arch, precision]
    ours = ChatModel(folder, threads=1)
    prompt = encode_prompt(ours.tokenizer, [{"role": "user", "content": text}])
    count = min(64, ours.session.context_length - len(prompt))
    assert count > 8
    gaps, tokens = gaps_and_tokens(ours, prompt, count)
    said = genai_tokens(onnxruntime_genai.Model(str(folder)), prompt, count)
    assert len(said) == count
    limit = ours.manifest.gate.logit_difference if precision == "int8" else 0.0
    sure = next((place for place, gap in enumerate(gaps) if gap < limit), count)
    assert said[:sure] == tokens[:sure]


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_portable_bundle_says_the_same(genai_runs, genai_bundles, arch, tmp_path, must):
    must("export", genai_runs[arch], "--portable", "--out", tmp_path / "portable")
    folder = as_genai(tmp_path / "portable", tmp_path / "genai")
    models = [onnxruntime_genai.Model(str(path)) for path in (folder, genai_bundles[arch, "fp32"])]
    portable, fused = (genai_tokens(model, [1, 4, 70, 80, 5], 64) for model in models)
    assert portable == fused


@pytest.mark.parametrize("arch", ["classic", "modern"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_same_logits_turn_after_turn(genai_bundles, arch, precision):
    folder = genai_bundles[arch, precision]
    ours = ChatModel(folder, threads=1)
    model = onnxruntime_genai.Model(str(folder))
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(do_sample=False)
    generator = onnxruntime_genai.Generator(model, parameters)
    ours.session.truncate(0)
    for turn in ([1, 4, 70, 80, 90, 5], [2, 4, 71, 5], [2, *range(100, 140), 5]):
        generator.append_tokens(turn)
        np.testing.assert_allclose(generator.get_logits()[0, 0], ours.session.append(turn), atol=1e-4)


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_reply_ends_where_the_context_does(genai_bundles, arch):
    folder = genai_bundles[arch, "fp32"]
    context = read_manifest(folder).model.context_length
    model = onnxruntime_genai.Model(str(folder))
    assert len(genai_tokens(model, [1, 4, 70, 5], context - 4)) == context - 4
    with pytest.raises(RuntimeError, match="context_length"):
        genai_tokens(model, [1, 4, 70, 5], context - 3)


# The example program


@pytest.mark.parametrize("text", ["Hello! Who are you?", "My name is Ada.", "\u2581\0 <assistant> ok"])
def test_the_example_says_what_tinylm_says(genai_bundles, example, text):
    folder = genai_bundles["classic", "fp32"]
    ours = ChatModel(folder, threads=1)
    chat = ours.start_chat(options=ours.default_options(temperature=0))
    theirs = example.Chat(folder, do_sample=False)
    said, expected = "".join(theirs.send(text)), "".join(chat.send(text))
    # A model that learned so little may not end its reply; then the two stop at their own limits
    size = min(len(said), len(expected))
    assert size > 20
    assert said[:size] == expected[:size]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_the_example_places_roles_that_no_text_can_forge(text, genai_bundles, example):
    # Long runs, of spaces too, are cut: docs/genai.md
    text = re.sub(" {25,}", " ", " ".join(word.replace("\r", "")[:25] for word in text.split(" ")))
    folder = genai_bundles["classic", "fp32"]
    made, chat = load_tokenizer(folder / "tokenizer.model"), loaded_example(example, folder)
    assert chat.encode(text) == made.encode(text)
    assert not forbidden(made) & set(chat.encode(text))


def test_the_example_drops_the_oldest_exchanges(genai_bundles, example):
    chat = example.Chat(genai_bundles["classic", "int8"], max_length=96)
    for number in range(12):
        list(chat.send(f"number {number}"))
    assert chat.prompt([4, 5])[0] == chat.symbols["bos"]
    assert len(chat.prompt([4, 5])) <= 96 * 3 // 4
    assert "do not fit" in "".join(chat.send("x" * 200))


@cache
def loaded_example(example, folder):
    return example.Chat(folder)

"""Replies that follow a JSON schema or a regular expression, in the generation loop and on the command line."""

import json
import re
import sys

import numpy as np
import pytest
from byte_level import byte_level
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinylm.errors import ConfigError
from tinylm.runtime import ChatModel, Generation, SamplingOptions
from tinylm.runtime.grammar import MAX_SCHEMA_CHARACTERS, Grammar
from tinylm.runtime.sampling import TokenSampler

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["happy 😀", "sad"]},
        "friends": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["name", "age", "mood"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model():
    return ChatModel(threads=1)


@pytest.fixture(scope="module")
def tokenizer(model):
    return model.tokenizer


class Babbling:
    """A decoder of random logits, from which almost any token may come."""

    context_length = 512

    def __init__(self, tokenizer, seed):
        self.vocab_size, self.ids = tokenizer.vocab_size, []
        self._dice, self._eos_id = np.random.default_rng(seed), tokenizer.eos_id

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        del self.ids[length:]

    def append(self, ids):
        self.ids += ids
        logits = self._dice.normal(0, 3, self.vocab_size).astype(np.float32)
        logits[self._eos_id] += 9  # it ends as soon as it may
        return logits


def babble(tokenizer, seed=0, **options):
    """A reply of that decoder."""
    options = {"temperature": 1.5, "top_k": 0, "seed": seed, "max_new_tokens": 400, **options}
    sampler = TokenSampler.of(tokenizer, SamplingOptions(**options))
    generation = Generation(Babbling(tokenizer, seed), tokenizer, [tokenizer.bos_id], sampler)
    pieces = list(generation)
    assert "".join(pieces) == generation.result.reply
    return generation.result


def is_person(value):
    return (
        set(value) - {"friends"} == {"name", "age", "mood"}
        and len(value["name"]) <= 12
        and 0 <= value["age"] <= 130
        and value["mood"] in PERSON["properties"]["mood"]["enum"]
        and all(len(friend) <= 3 for friend in value.get("friends", []))
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_reply_follows_its_schema_whatever_the_model_wants(tokenizer, seed):
    result = babble(tokenizer, seed, json_schema=PERSON)
    assert result.finish_reason == "stop"
    assert is_person(json.loads(result.reply)), result.reply
    assert not {*result.ids} & {tokenizer.eos_id, *tokenizer.never_sampled}


OPEN = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        OPEN,
        {"$ref": "#/$defs/open", "$defs": {"open": OPEN}},
        {"anyOf": [{"type": "array", "prefixItems": [OPEN], "items": False, "minItems": 1}, OPEN]},
        {"type": "array", "items": OPEN, "minItems": 1, "maxItems": 2},
        {"type": "object", "properties": {"in": OPEN}, "required": ["in"]},
    ],
    ids=["object", "reference", "any", "list", "nested"],
)
def test_an_object_has_the_members_that_are_listed(tokenizer, schema):
    for seed in range(5):
        result = babble(tokenizer, seed, json_schema=schema)
        assert result.finish_reason == "stop"
        assert set(re.findall("[a-z]+", result.reply)) <= {"a", "in"}, result.reply
    assert "additionalProperties" not in OPEN


def test_members_of_any_name_come_where_a_schema_allows_them(tokenizer):
    value = {"enum": ["x"]}
    for more in ({"additionalProperties": value}, {"patternProperties": {"^b{1,2}$": value}}):
        schema = {"type": "object", "properties": {"a": value}, **more}
        found = [babble(tokenizer, seed, json_schema=schema, max_new_tokens=60).reply for seed in range(12)]
        assert any(re.match(r'\{\s*"(?!a")', reply) for reply in found), found


def test_objects_of_several_parts_have_the_members_of_all(tokenizer):
    parts = [{"properties": {name: {"enum": [number]}}, "required": [name]} for number, name in enumerate("ab")]
    schema = {"type": "object", "allOf": parts}
    assert '"a"' in (reply := babble(tokenizer, json_schema=schema, max_new_tokens=60).reply), reply
    schema = {"type": "object", "properties": {"a": {"enum": [0]}}, "required": ["a", "c"]}
    assert '"a"' in (reply := babble(tokenizer, json_schema=schema, max_new_tokens=60).reply), reply


def test_characters_without_a_token_are_spelled_as_bytes(tokenizer):
    emoji = {"type": "object", "properties": {"is": {"const": "Grüße 😀 {}"}}, "required": ["is"]}
    emoji["additionalProperties"] = False
    result = babble(tokenizer, json_schema=emoji)
    assert json.loads(result.reply) == {"is": "Grüße 😀 {}"}
    assert sum(len(tokenizer.bytes_of(id_)) == 1 for id_ in result.ids) >= 4
    assert babble(tokenizer, regex="(🏠|🌍){3}").reply.strip("🏠🌍") == ""


def test_a_text_that_looks_like_a_control_symbol_is_text(tokenizer):
    result = babble(tokenizer, regex=r"<eos>(<bos>|<user>)")
    assert result.reply in {"<eos><bos>", "<eos><user>"}
    assert len(result.ids) > 2


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("pattern", [r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "(yes|no|perhaps)( indeed)?", "(?i)pip+!*", "a*"])
def test_a_reply_matches_its_pattern_as_a_whole(pattern, tokenizer, seed):
    result = babble(tokenizer, seed, regex=pattern)
    assert result.finish_reason == "stop"
    assert re.fullmatch(pattern, result.reply), result.reply


def test_a_byte_level_tokenizer_and_several_ends():
    tokenizer = byte_level()
    result = babble(tokenizer, json_schema=PERSON)
    assert is_person(json.loads(result.reply))
    assert result.finish_reason == "stop"
    grammar = Grammar(tokenizer, regex="é?")
    logits = np.zeros(tokenizer.vocab_size, np.float32)
    grammar.restrict(logits)
    allowed = set(np.flatnonzero(np.isfinite(logits)).tolist())
    assert len(tokenizer.ends) == 2
    assert allowed & tokenizer.control == set(tokenizer.ends)


def test_any_json_and_any_object(tokenizer):
    # Without these it would hardly ever end a text or an object
    ends = {tokenizer.encode(text)[-1]: 10.0 for text in ('"', "}", "]")}
    replies = [babble(tokenizer, seed, json_schema={}, logit_bias=ends) for seed in range(16)]
    values = [json.loads(one.reply) for one in replies if one.finish_reason == "stop"]
    assert len({type(value) for value in values}) > 1
    objects = [babble(tokenizer, seed, json_schema={"type": "object"}, logit_bias=ends) for seed in range(8)]
    assert all(one.reply.startswith("{") for one in objects)
    whole = [json.loads(one.reply) for one in objects if one.finish_reason == "stop"]
    assert whole
    assert all(isinstance(value, dict) for value in whole)


def test_a_reply_that_is_cut_says_so(tokenizer):
    whole = babble(tokenizer, 3, json_schema=PERSON)
    cut = babble(tokenizer, 3, json_schema=PERSON, max_new_tokens=8)
    assert cut.finish_reason == "length"
    assert whole.reply.startswith(cut.reply)


def test_blanks_cannot_go_on_for_ever(tokenizer):
    grammar = Grammar(tokenizer, PERSON)
    logits = np.zeros(tokenizer.vocab_size, np.float32)
    for text in ("{", "\n", *" " * 16):
        (id_,) = tokenizer.encode(text)
        grammar.feed(id_)
    grammar.restrict(logits)
    assert np.isneginf(logits[tokenizer.encode(" ")[0]])


def test_other_options_and_logprobs_work_beside_a_constraint(tokenizer):
    options = {"repetition_penalty": 1.5, "presence_penalty": 2, "frequency_penalty": 2, "top_k": 5, "min_p": 0.1}
    assert is_person(json.loads(babble(tokenizer, json_schema=PERSON, **options).reply))
    bias = {tokenizer.eos_id: 100, tokenizer.unk_id: 100}
    assert is_person(json.loads(babble(tokenizer, json_schema=PERSON, logit_bias=bias).reply))


def test_every_reply_of_a_chat_follows_the_schema(model):
    chat = model.start_chat(options=model.default_options(json_schema=PERSON, seed=1, max_new_tokens=200))
    for text in ("Who are you?", "And who else?"):
        assert is_person(json.loads("".join(chat.send(text))))


def problem_of(make):
    """Why a constraint is refused; empty where it is not."""
    try:
        make()
    except ConfigError as error:
        return str(error)
    return ""


DEEP = json.loads('{"items":' * 300 + "{}" + "}" * 300)
HOSTILE = [
    ({"$ref": "#"}, "no text matches"),
    ({"$ref": "https://example.com/schema.json"}, "not present"),
    ({"$ref": "file:///etc/passwd"}, "not present"),
    ({"type": "strange"}, "strange"),
    ({"not": {"type": "string"}}, "not"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"x-guidance": {"lenient": True}, "not": {}}, "not"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"type": "string", "pattern": "["}, "unclosed"),
    ({"enum": [f"x{number}" for number in range(100_000)]}, f"{MAX_SCHEMA_CHARACTERS:,}"),
    ({"const": "\ud800"}, "hex escape"),
    (DEEP, "recursion"),
]


@pytest.mark.parametrize(("schema", "word"), HOSTILE, ids=lambda value: str(value)[:30])
def test_a_schema_that_cannot_be_enforced_is_refused_in_one_line(tokenizer, schema, word):
    with pytest.raises(ConfigError) as refusal:
        Grammar(tokenizer, schema)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300
    assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("[", "unclosed"),
        ("(?=a)b", "look-around"),
        (r"(.)\1", "backreference"),
        (r"[^\s\S]", "no text matches"),
        ("(" * 2000, "regex"),
        ("a" * 5000, "4,096"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_pattern_that_cannot_be_enforced_is_refused_in_one_line(tokenizer, pattern, word):
    with pytest.raises(ConfigError) as refusal:
        Grammar(tokenizer, regex=pattern)
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("pattern", [r"(x{1,1000}){1,1000}", r"((a|b)*a(a|b){25}){9}", r"(\w{1,99} ){1,999}"])
def test_a_pattern_that_explodes_ends_the_reply_in_bounds(tokenizer, pattern):
    problem = problem_of(lambda: babble(tokenizer, regex=pattern))
    assert problem == "" or problem.startswith("regex: lexer error")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = [
    *("type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "required"),
    *("pattern", "format", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems", "maxItems"),
    *("additionalProperties", "prefixItems", "patternProperties", "x-guidance", "title", "default", "$id", "$schema"),
]
schemas = st.recursive(
    st.dictionaries(st.sampled_from(KEYWORDS), json_values | st.sampled_from(["string", "object", "#", "date"])),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS), inner | st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner)
    ),
    max_leaves=6,
)


@given(schema=schemas)
@example({"multipleOf": 0})
@example({"type": "string", "minLength": 9, "maxLength": 3})
@example({"$ref": {"\x7f": None}})
@settings(max_examples=100, deadline=None)
def test_any_object_is_a_schema_or_is_refused(tokenizer, schema):
    problem = problem_of(lambda: Grammar(tokenizer, schema))
    assert problem == "" or problem.startswith("JSON schema: ")
    assert problem.isprintable()


@given(pattern=st.text("ab()[]{}|*+?.\\^$0123,-é😀 \n", max_size=16))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_pattern_or_is_refused(tokenizer, pattern):
    problem = problem_of(lambda: Grammar(tokenizer, regex=pattern))
    assert problem == "" or problem.startswith("regex: ")
    assert problem.isprintable()


def test_several_constraints_exclude_each_other():
    for options in ({"choices": ["a"], "regex": "b"}, {"regex": "a", "json_schema": {}}, {"regex": ""}):
        with pytest.raises(ConfigError):
            SamplingOptions(**options)


def test_without_llguidance_one_line_says_how_to_get_it(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ConfigError, match=r"llguidance.*constrain") as refusal:
        Grammar(tokenizer, regex="a")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("command", ["chat", "complete"])
def test_the_command_line(command, must, tmp_path):
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    said = must(command, "--prompt", "Who are you?", "--json-schema", file, "--seed", "1", "--json")
    assert is_person(json.loads(json.loads(said.stdout)["reply"]))
    said = must(command, "--prompt", "", "--regex", "[0-9]{3}", "--json") if command == "complete" else None
    assert said is None or re.fullmatch("[0-9]{3}", json.loads(said.stdout)["reply"])


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "No such file"), (b"[1,", "not JSON"), (b"\xff", "not JSON"), (b"[]", "object"), (b"[" * 99_999, "JSON")],
    ids=str,
)
def test_a_file_that_holds_no_schema_is_named(content, word, run_cli, tmp_path):
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_bytes(content)
    result = run_cli("chat", "--prompt", "Hi", "--json-schema", file)
    assert result.exit_code == 1
    assert str(file) in result.stderr
    assert word in result.stderr
    assert result.stderr.count("\n") == 1

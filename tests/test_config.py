"""The configuration: what goes in comes out, and what is wrong is one line that names it."""

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinylm.config import Config, ModelConfig, config_to_toml, config_values, load_config, make_config
from tinylm.errors import ConfigError


def problem_of(*overrides):
    with pytest.raises(ConfigError) as error:
        load_config(None, overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_every_default_is_valid_and_written_down():
    assert load_config() == Config() == make_config({}) == make_config(config_values(Config()))
    assert set(config_values(Config())) == {"model", "tokenizer", "train", "data"}
    assert list(config_values(Config())["model"])[:2] == ["arch", "vocab_size"]
    assert Config().model.arch == "classic"


def test_every_key_is_explained_in_the_file():
    lines = config_to_toml(Config()).splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line


@settings(deadline=None, max_examples=60)
@given(
    paths=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    rate=st.floats(1e-12, 100),
    seed=st.integers(0, 2**62),
    tie=st.booleans(),
)
def test_toml_round_trip(tmp_path_factory, paths, rate, seed, tie):
    values = {
        "model": {"arch": "modern", "num_kv_heads": 2, "tie_embeddings": tie},
        "train": {"learning_rate": rate, "seed": seed, "minutes": 0.5},
        "data": {"pretrain": paths},
    }
    file = tmp_path_factory.getbasetemp() / "round-trip.toml"
    file.write_bytes(config_to_toml(make_config(values)).encode("utf-8"))
    # Relative paths are relative to the file's folder
    values["data"]["pretrain"] = [str(file.parent / path) if path else path for path in paths]
    assert load_config(file) == make_config(values)


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("model.d_model=128", "model", "d_model", 128),
        (" model.arch = modern ", "model", "arch", "modern"),
        ('model.arch="modern"', "model", "arch", "modern"),
        ("model.tie_embeddings=false", "model", "tie_embeddings", False),
        ("train.learning_rate=1", "train", "learning_rate", 1.0),
        ("train.learning_rate=1e-3", "train", "learning_rate", 0.001),
        ("train.device=cuda:0", "train", "device", "cuda:0"),
        ('data.pretrain=["a=b.txt", "c"]', "data", "pretrain", ["a=b.txt", "c"]),
        ("train.steps=1_000", "train", "steps", 1000),
    ],
)
def test_an_override(override, section, key, value):
    found = config_values(load_config(None, [override]))
    assert found[section].pop(key) == value
    expected = config_values(Config())
    del expected[section][key]
    assert found == expected


def test_overrides_go_before_the_file_and_the_file_before_the_base(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[model]\nd_model = 128\nnum_layers = 2\n", "utf-8")
    base = {"model": {"d_model": 512, "num_layers": 9, "vocab_size": 999}}
    model = load_config(file, ["model.num_layers=3", "model.num_layers=4"], base).model
    assert (model.d_model, model.num_layers, model.vocab_size) == (128, 4, 999)
    assert base == {"model": {"d_model": 512, "num_layers": 9, "vocab_size": 999}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle.d_model=1", "unknown section [modle]; did you mean model?"),
        ("zzz.d_model=1", "unknown section [zzz]; known are model, tokenizer, train, data"),
        ("model.d_modle=1", "unknown key model.d_modle; did you mean d_model?"),
        ("train.learningrate=1", "unknown key train.learningrate; did you mean learning_rate?"),
        ("model.sub.key=1", "unknown key model.sub.key; known are arch,"),
        ("model.d_model", "--set model.d_model: give section.key=value"),
        ("d_model=3", "--set d_model=3: give section.key=value"),
        ("=", "--set =: give section.key=value"),
        ("model.=3", "--set model.=3: give section.key=value"),
        ("model.d_model=wide", "model.d_model: expected `int`, got `str`"),
        ("model.d_model=64.5", "model.d_model: expected `int`, got `float`"),
        ("model.d_model=true", "model.d_model: expected `int`, got `bool`"),
        ("model.tie_embeddings=1", "model.tie_embeddings: expected `bool`, got `int`"),
        ("data.pretrain=a.txt", "data.pretrain: expected `array`, got `str`"),
        ("data.pretrain=[1]", "data.pretrain[0]: expected `str`, got `int`"),
        ("model.arch=modren", "model.arch: invalid enum value 'modren'; there is classic, modern, llama"),
        ("train.optimizer=sgd", "train.optimizer: invalid enum value 'sgd'; there is muon, adamw"),
        ("train.precision=fp16", "train.precision: invalid enum value 'fp16'; there is auto, bf16, fp32"),
        ("model.vocab_size=263", "model.vocab_size: expected `int` >= 264"),
        ("model.dropout=1", "model.dropout: expected `float` < 1.0"),
        ("model.dropout=-0.1", "model.dropout: expected `float` >= 0.0"),
        ("model.dropout=nan", "model.dropout: expected `float`"),
        ("train.learning_rate=0", "train.learning_rate: expected `float` > 0.0"),
        ("train.learning_rate=inf", "train.learning_rate: expected `float` <= 1000"),
        ("train.finetune_learning_rate=nan", "train.finetune_learning_rate: expected `float`"),
        ("train.minutes=inf", "train.minutes: expected `float` <= 1000000"),
        ("train.minutes=-1", "train.minutes: expected `float` >= 0"),
        ("train.batch_size=0", "train.batch_size: expected `int` >= 1"),
        ("train.seed=-1", "train.seed: expected `int` >= 0"),
        ("tokenizer.max_sample_megabytes=0", "tokenizer.max_sample_megabytes: expected `float` >= 0.01"),
        ("tokenizer.max_sample_megabytes=inf", "tokenizer.max_sample_megabytes: expected `float` <= 1000"),
        ("data.validation_fraction=0.6", "data.validation_fraction: expected `float` <= 0.5"),
        ("train.warmup=0.7", "train: warmup + decay is 1.2, but a stage has only 1"),
        ("train.minutes=0", "train: steps and minutes are both 0; set one of them"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    assert problem_of(override).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["d_model=256", "nhead=3"], "model: d_model (256) must be divisible by nhead (3); try nhead = 2"),
        (["d_model=64", "nhead=16"], "model: d_model / nhead is 4, but must be a multiple of 8"),
        (
            ["d_model=100"],
            "model: d_model / nhead is 25, but must be a multiple of 8 for the attention kernel; try d_model = 96",
        ),
        (["arch=modern", "d_model=96"], "model: d_model / nhead is 24, but must be a multiple of 16"),
        (["nhead=2", "num_kv_heads=1"], 'model: num_kv_heads other than nhead needs arch = "modern" or "llama"'),
        (
            ["arch=modern", "nhead=8", "d_model=256", "num_kv_heads=3"],
            "model: nhead (8) must be divisible by num_kv_heads (3); try num_kv_heads = 2",
        ),
    ],
)
def test_an_impossible_shape_is_named(overrides, message):
    assert problem_of(*(f"model.{override}" for override in overrides)).startswith(message)


@settings(deadline=None, max_examples=200)
@given(arch=st.sampled_from(["classic", "modern"]), width=st.integers(16, 16_384), heads=st.integers(1, 256))
@example(arch="classic", width=16_380, heads=5)
@example(arch="classic", width=17, heads=1)
@example(arch="modern", width=16_384, heads=255)
@example(arch="modern", width=24, heads=3)
def test_the_way_out_of_an_impossible_shape_is_one(arch, width, heads):
    values = {"arch": arch, "d_model": width, "nhead": heads}
    try:
        model = make_config({"model": values}).model
    except ConfigError as error:
        key, value = re.search(r"try (d_model|nhead) = (\d+)$", str(error)).groups()
        model = make_config({"model": {**values, key: int(value)}}).model
    assert model.d_model == model.nhead * model.head_dim
    assert model.head_dim % (16 if arch == "modern" else 8) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[model\n", "not a TOML file: Expected ']' at the end of a table declaration (at line 1"),
        (b"[model]\nd_model = 1\nd_model = 2\n", "not a TOML file: "),
        (b"[model]\n# \xff\xfe\n", "not a TOML file: 'utf-8' codec can't decode byte 0xff"),
        (b"model = 3\n", "model: must be a section of the configuration, not a value"),
        (b"[[model]]\nd_model = 64\n", "model: must be a section of the configuration, not a value"),
        (b"[model]\nd_model = 100\n", "model: d_model / nhead is 25"),
        (b"[model]\nd_modle = 100\n", "unknown key model.d_modle; did you mean d_model?"),
        (b"[train]\nsteps = -1\n", "train.steps: expected `int` >= 0"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert str(error.value).startswith(f"{file}: {message}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read \(No such file or directory\)"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(("given_heads", "used"), [(0, 4), (1, 1), (2, 2), (4, 4)])
def test_key_value_heads(given_heads, used):
    model = ModelConfig(arch="modern", nhead=4, d_model=64, num_kv_heads=given_heads)
    assert (model.kv_heads, model.head_dim) == (used, 16)


def test_a_wrong_configuration_is_wrong_usage():
    assert ConfigError.exit_code == 2
    assert math.isfinite(Config().train.minutes)


def test_a_byte_order_mark_and_crlf_are_no_part_of_the_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[model]\r\nd_model = 64\r\nnhead = 2\r\n")
    assert load_config(file).model.d_model == 64

"""Streams and names that are not UTF-8: JSON stays JSON, text stays what it was, and nothing ends in a traceback."""

import io
import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from tinylm.config import config_to_toml, load_config, make_config
from tinylm.printable import command_line, json_text, printable
from tinylm.run_log import append_metrics, read_metrics
from tinylm.training.progress import ProgressLines

TEXT = "Grüße 🌱 “so”"
NAME = "grüße🌱"
ENVIRONMENTS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "LANG=C": {"LANG": "C", "LC_ALL": "C"},
    "PYTHONUTF8=0": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
# Runs several commands in one process, with arguments as this environment decodes them
DRIVER = """
import json, os, sys
from tinylm.cli.main import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["tinylm", *(os.fsdecode(word.encode()) for word in words)]
    try:
        main()
    except SystemExit as left:
        assert not left.code, (words, left.code)
"""


@pytest.fixture(params=ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def run_all(request, tmp_path):
    """Run commands where streams, arguments and names have another encoding; what they write on stdout."""

    def run(*commands):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
        environment = {**environment, "TINYLM_DATA_CACHE": str(tmp_path / NAME / "cache"), **request.param}
        result = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps([[str(word) for word in command] for command in commands])],
            capture_output=True,
            timeout=300,
            env=environment,
            cwd=tmp_path,
            check=False,
        )
        assert result.returncode == 0, result.stderr.decode("utf-8", "replace")
        assert b"Traceback" not in result.stderr
        return result.stdout

    return run


@pytest.fixture
def place(tmp_path, samples, text_bundle):
    folder = tmp_path / NAME
    folder.mkdir()
    for number in (1, 2):
        shutil.copy(samples / "raw.txt", folder / f"{number} {NAME}.txt")
    shutil.copytree(text_bundle, folder / "bundle")
    return folder


def test_every_command_with_json(run_all, place):
    texts = [place / f"{number} {NAME}.txt" for number in (1, 2)]
    output = run_all(
        ["chat", "--prompt", TEXT, "--choice", TEXT, "--json"],
        ["complete", "--prompt", TEXT, "--choice", TEXT, "--json"],
        ["data", "inspect", *texts, "--json"],
        ["data", "cache", "--json"],
        ["eval", place / "bundle", "--data", texts[0], "--data", texts[1], "--json"],
        ["info", place / "bundle", "--json"],
        ["bench", place / "bundle", "--threads", 1, "--context", 0, "--json"],
        ["doctor", place / "bundle", "--json"],
    )
    chat, complete, inspect, cache, scored, info, bench, doctor = map(json.loads, output.decode("ascii").splitlines())
    assert chat["reply"] == complete["reply"] == TEXT
    assert [file["path"] for file in inspect["files"]] == list(map(str, texts))
    assert cache["folder"] == str(place / "cache")
    assert [file["file"] for file in scored["files"]] == list(map(str, texts))
    assert info["chat"] is False
    assert bench["threads"] == 1
    assert NAME in json.dumps(doctor, ensure_ascii=False)


def test_the_configuration_is_toml(run_all, place, tmp_path):
    (tmp_path / "shown.toml").write_bytes(run_all(["train", "--pretrain", place / f"1 {NAME}.txt", "--show-config"]))
    assert load_config(tmp_path / "shown.toml").data.pretrain == [str(place / f"1 {NAME}.txt")]


def test_text_is_shown_as_far_as_the_stream_can(tmp_path):
    command = [sys.executable, "-m", "tinylm", "chat", "--prompt", "Hi", "--choice", TEXT]
    for encoding, expected in (("utf-8", TEXT), ("cp1252", "Grüße ? “so”"), ("latin-1", "Grüße ? ?so?")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        result = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
        assert result.stdout.decode(encoding).strip() == expected


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "? ? ?"), ("cp1252", "? ü ?"), ("utf-8", "→ ü \ufffd")])
def test_progress_that_the_stream_cannot_show_does_not_end_a_training(encoding, shown, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    ProgressLines().on_message("→ ü \udce9")
    assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"


def test_a_session_is_utf8_whatever_the_terminal_is(run_all, tmp_path):
    run_all(["chat", "--prompt", TEXT, "--choice", TEXT, "--session", tmp_path / f"{NAME}.jsonl"])
    [line] = (tmp_path / f"{NAME}.jsonl").read_text("utf-8").splitlines()
    assert [message["content"] for message in json.loads(line)["messages"]] == [TEXT, TEXT]


@pytest.fixture
def odd(tmp_path):
    """A folder whose name is not UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)  # noqa: PTH102 - bytes
    except OSError:
        pytest.skip("this file system takes no such names")
    return type(tmp_path)(os.fsdecode(folder))


def test_a_run_in_a_folder_whose_name_is_not_utf8(odd, must, run_cli, settings, samples, runs, bundle):
    for name in ("raw.txt", "tagged.txt"):
        shutil.copy(samples / name, odd / f"\udce9 {name}")
    run, out = odd / "run", odd / "bundle"
    train = ["train", "--pretrain", odd / "\udce9 raw.txt", "--finetune", f"{odd / chr(0xDCE9)} tagged.txt=2"]
    result = must(*train, "--steps", 4, "--tensorboard", *settings(), "--out", run)
    assert "caf\ufffd/run" in result.stderr
    config = tomllib.loads((run / "config.toml").read_text("utf-8"))
    assert config["data"]["pretrain"][0].startswith("file://")
    assert config["data"]["pretrain"][0].endswith("/caf%E9/%E9%20raw.txt")
    assert load_config(run / "config.toml").data.finetune == [f"{odd / chr(0xDCE9)} tagged.txt=2"]
    state = run / "checkpoints" / "last" / "state.json"
    state.write_text(state.read_text().replace('"finished": true', '"finished": false'))
    must("train", "--resume", run)
    (report,) = run.glob("report.html")
    assert "\ufffd tagged.txt" in report.read_text("utf-8")
    must("report", run)
    limits = ["--limit", "quality_loss_percent=99", "--limit", "greedy_agreement=0"]
    must("export", run, "--quantize", "--genai", "--out", out, *limits)
    info = json.loads(must("info", out, "--verify", "--json").stdout)
    assert info["provenance"]["data"]["finetune"]["files"][0]["name"] == "\ufffd tagged.txt"
    assert "\ufffd" in json.loads(must("data", "inspect", odd / "\udce9 raw.txt", "--json").stdout)["files"][0]["path"]
    must("eval", run, "--data", odd / "\udce9 raw.txt", "--json")
    must("eval", out, "--data", odd / "\udce9 raw.txt", "--json")
    must("chat", out, "--session", odd / "\udce9.jsonl", "--prompt", "Hi \udce9", "--json")
    must("complete", out, "--prompt", "Hi \udce9")
    must("bench", out, "--threads", 1, "--context", 0, "--json")
    must("doctor", out, "--json")
    must("data", "world", odd / "world", "--documents", 3, "--conversations", 3)
    for command in (
        ["info"],
        ["eval"],
        ["chat", "--prompt", "Hi"],
        ["report"],
        ["train", "--pretrain"],
        ["train", "--resume"],
    ):
        result = run_cli(*command, odd / "none")
        assert result.exit_code == 1
        assert "caf\ufffd" in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("grüße 🌱", "grüße 🌱"),
        ("caf\udce9", "caf\ufffd"),
        ("\udcf0\udc9f\udc8c\udcb1", "🌱"),
        ("half \ud83c", "half \ufffd"),
        ("both \ud83c \udce9", "both \ufffd \ufffd"),
        ("", ""),
    ],
)
def test_printable_text(text, shown):
    assert printable(text) == shown
    assert json.loads(json_text({"a": [text, {text: (text,)}]})) == {"a": [shown, {shown: [shown]}]}
    assert json_text({"a": text}).isascii()


def test_json_has_no_numbers_that_are_none():
    values = {"a": float("nan"), "b": [float("inf"), 1.5], "c": None, "d": True}
    text = json_text(values)
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, 1.5], "c": None, "d": True}


def test_a_log_is_ascii(tmp_path):
    append_metrics(tmp_path / "log", stage="finetune", step=1, prompt="Hi \udce9", sample=TEXT)
    assert (tmp_path / "log").read_bytes().isascii()
    assert [line.sample for line in read_metrics(tmp_path / "log").samples] == [TEXT]


def test_paths_in_a_configuration(tmp_path):
    paths = [str(tmp_path / name) for name in ("plain.txt", "grüße 🌱.txt", "caf\udce9 %41.txt=2", "100%.txt")]
    config = make_config({"data": {"pretrain": paths}})
    (tmp_path / "config.toml").write_text(config_to_toml(config), "utf-8")
    assert load_config(tmp_path / "config.toml").data.pretrain == paths


@pytest.mark.skipif(os.name == "nt", reason="another shell")
@pytest.mark.parametrize("name", ["plain", "my run", "it's", "a;b", "$HOME", "-x", "-my run", "grüße", "a\\b", "*"])
def test_a_command_is_typed_as_it_is_printed(name, tmp_path):
    (tmp_path / name).mkdir()
    command = command_line("ls", "-d", tmp_path.__class__(name))
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout.rstrip("\n").removeprefix("./") == name

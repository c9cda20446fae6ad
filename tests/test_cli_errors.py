"""Bad input: one clear line, exit code 1 or 2, nothing half-written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinylm.cli.main import cli
from tinylm.installation import install_command

# Runs tinylm where no file may grow past so many bytes: the kernel refuses as it does on a full disk
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tinylm.cli.main import main
import tinylm.training.trainer, tinylm.export
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv[0] = "tinylm"
main()
"""


def one_error(result, *parts, code):
    """The error line of a result; it must be the only one, and the command must have said nothing on stdout."""
    stderr = result.stderr
    exit_code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert exit_code == code, stderr
    assert "Traceback" not in stderr
    lines = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, stderr
    assert stderr.splitlines()[-1] == lines[0], stderr
    assert result.stdout == ""
    for part in parts:
        assert part in lines[0]
    return lines[0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder, which must stay as it is."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


BAD_DATA = {
    "missing": (None, "no such file"),
    "empty": (b"", ""),
    "blank": (b" \n\n\t\n", ""),
    "binary": (bytes(range(256)) * 8, ""),
    "UTF-16": ("<user> Hi\n<assistant> Hello".encode("utf-16")[:-1], "broken UTF-16"),
}


@pytest.mark.parametrize("option", ["--pretrain", "--finetune"])
@pytest.mark.parametrize(("content", "problem"), BAD_DATA.values(), ids=BAD_DATA)
def test_data_files_that_cannot_be_read(option, content, problem, place, tmp_path, run_cli):
    path = tmp_path / "data.txt"
    if content is not None:
        path.write_bytes(content)
    one_error(run_cli("train", option, path, "--steps", 1), "data.txt", problem, code=1)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("chats.json", '[{"messages": [', "chats.json"),
        ("chats.jsonl", '{"messages": [{"role": "user"', "chats.jsonl:1"),
        ("chats.jsonl", '{"text": "fine"}\n{"messages": 7}\n', "chats.jsonl"),
        ("chats.txt", "<user> Hi\n<user> Hello?\n", "chats.txt"),
        ("chats.json", '[{"messages": [{"role": "user", "content": "Hi"}]}]', "chats.json"),
        ("chats.txt", "no tags at all", "chats.txt"),
    ],
)
def test_conversations_that_are_none(name, text, where, place, tmp_path, run_cli):
    (tmp_path / name).write_text(text)
    one_error(run_cli("train", "--finetune", tmp_path / name, "--steps", 1), where, code=1)


def test_a_folder_for_a_file(place, tmp_path, run_cli):
    (tmp_path / "folder").mkdir()
    one_error(run_cli("train", "--pretrain", tmp_path / "folder", "--steps", 1), "folder", code=1)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--set", "model.d_modle=64"], "d_model"),
        (["--set", "modle.d_model=64"], "modle"),
        (["--set", "model.d_model"], "--set model.d_model"),
        (["--set", "model.d_model=many"], "model.d_model"),
        (["--set", "model.d_model=250", "--set", "model.nhead=4"], "divisible by nhead"),
        (["--set", "model.d_model=40", "--set", "model.nhead=4"], "multiple of 8"),
        (["--set", "model.num_layers=0"], "num_layers"),
        (["--set", "model.context_length=4"], "context_length"),
        (["--set", "model.num_kv_heads=2"], "num_kv_heads"),
        (["--set", "model.dropout=1.5"], "dropout"),
        (["--set", "train.learning_rate=-1"], "learning_rate"),
        (["--set", "train.device=cuda:77"], "train.device"),
        (["--set", "train.device=toaster"], "train.device"),
        (["--steps", "5", "--minutes", "5"], "--steps and --minutes"),
        (["--steps", "0"], "--steps"),
        (["--minutes", "-1"], "--minutes"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--new-tokenizer"], "--new-tokenizer"),
        (["--resume", "runs/one"], "--resume"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_train_options_that_make_no_sense(arguments, part, place, samples, run_cli):
    one_error(run_cli("train", "--pretrain", samples / "raw.txt", *arguments), part, code=2)


@pytest.mark.parametrize(
    "text", ["model = 7", "[model\n", "[model]\nd_model = '64'", "[model]\nwidth = 7", "\x00", "x = 1"]
)
def test_configuration_files_that_are_wrong(text, place, tmp_path, samples, run_cli):
    (tmp_path / "my.toml").write_text(text)
    result = run_cli("train", "--pretrain", samples / "raw.txt", "--config", tmp_path / "my.toml")
    one_error(result, "my.toml", code=2)


def test_nothing_to_train_on(place, run_cli):
    one_error(run_cli("train"), "nothing to train on", code=2)


def test_an_output_that_exists_stays_untouched(tmp_path, samples, runs, bundle, run_cli):
    full = tmp_path / "full"
    full.mkdir()
    (full / "diary.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (full, file):
        line = one_error(run_cli("train", "--pretrain", samples / "raw.txt", "--steps", 1, "--out", out), code=1)
        assert "exists" in line
        for more in ([], ["--overwrite"]):
            one_error(run_cli("export", runs["classic"], "--out", out, *more), "exists", code=1)
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    before = (copy / "manifest.json").stat()
    one_error(run_cli("export", runs["classic"], "--out", copy), "--overwrite", code=1)
    assert (copy / "manifest.json").stat() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "file", "full"]
    assert [path.name for path in full.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("command", ["export", "train --init", "train --resume", "eval"])
def test_what_is_no_run_folder(command, place, tmp_path, run_cli, bundle):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        arguments = [*command.split(), folder]
        if command == "export":
            arguments += ["--out", "bundle"]
        one_error(run_cli(*arguments), folder.name, code=1)
    if command == "export":
        one_error(run_cli("export", bundle, "--out", "again"), "not a run folder", code=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "config.toml").write_text("[model]\nd_model = 12"),
        lambda run: (run / "tokenizer.model").write_bytes(b"none"),
        lambda run: (run / "tokenizer.model").unlink(),
        lambda run: shutil.rmtree(run / "checkpoints"),
        lambda run: (run / "checkpoints/best/model.safetensors").write_bytes(b"cut"),
        lambda run: (run / "checkpoints/best/model.safetensors").unlink(),
        lambda run: (run / "checkpoints/best/state.json").write_text("{}"),
        lambda run: (run / "val/finetune.npz").write_bytes(b"PK none"),
        lambda run: (run / "provenance.json").write_text("{"),
    ],
)
def test_a_run_with_a_broken_file(damage, place, tmp_path, runs, run_cli):
    run = shutil.copytree(runs["classic"], tmp_path / "run")
    damage(run)
    result = run_cli("export", run, "--out", "bundle")
    if result.exit_code == 0:
        # What the export does not need may be broken
        assert (run / "config.toml").read_text().startswith("[model]\nd_model = 12")
        shutil.rmtree("bundle")
        return
    one_error(result, str(run), code=result.exit_code)
    assert result.exit_code in {1, 2}


def test_resume_without_its_records(place, tmp_path, runs, run_cli):
    run = shutil.copytree(runs["classic"], tmp_path / "run")
    state = run / "checkpoints" / "last" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "finished": False}))
    (run / "provenance.json").unlink()
    result = run_cli("train", "--resume", run)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert result.stderr.splitlines()[-1].endswith(f"--init {run}")


@pytest.mark.parametrize("command", ["chat", "complete", "info", "eval"])
def test_a_bundle_that_is_missing(command, place, tmp_path, run_cli):
    arguments = [command, tmp_path / "nowhere", *(["--prompt", "Hi"] if command in {"chat", "complete"} else [])]
    one_error(run_cli(*arguments), "nowhere", code=1)


@pytest.mark.parametrize("command", ["chat", "complete"])
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--temperature", "-1"], "temperature"),
        (["--temperature", "nan"], "temperature"),
        (["--temperature", "warm"], "--temperature"),
        (["--top-k", "-2"], "top-k"),
        (["--top-p", "-0.1"], "top-p"),
        (["--top-p", "2"], "top-p"),
        (["--seed", "-5"], "seed"),
        (["--max-new-tokens", "0"], "max-new-tokens"),
        (["--threads", "-1"], "--threads"),
    ],
)
def test_sampling_options_out_of_range(command, arguments, part, place, bundle, run_cli):
    one_error(run_cli(command, bundle, "--prompt", "Hi", *arguments), part, code=2)


def test_prompts_that_cannot_be(place, bundle, run_cli):
    for empty in ("", "  \n"):
        one_error(run_cli("chat", bundle, "--prompt", empty), "empty", code=2)
        one_error(run_cli("chat", bundle, input=empty), "empty", code=2)
    one_error(run_cli("chat", bundle, input=b"caf\xe9"), "stdin", "UTF-8", "0xe9", code=1)
    one_error(run_cli("chat", bundle, "--prompt", "word " * 300), "shorten", code=1)
    one_error(run_cli("complete", bundle, "--prompt", "word " * 300), "shorten", code=1)
    one_error(run_cli("chat", bundle, "--prompt", "Hi", "--system", "word " * 300), "system message", code=1)
    one_error(run_cli("complete", bundle), "--prompt", code=2)


def test_eval_without_data(place, bundle, run_cli, tmp_path):
    one_error(run_cli("eval", bundle), "--data", code=1)
    one_error(run_cli("eval", bundle, "--data", tmp_path / "nowhere.txt"), "nowhere.txt", code=1)
    one_error(run_cli("eval", bundle, "--data", tmp_path / "nowhere.txt", "--world"), "--world", code=2)
    (tmp_path / "odd.json").write_text("{")
    one_error(run_cli("eval", bundle, "--data", tmp_path / "odd.json", "--json"), "odd.json", code=1)


def test_an_unknown_command(place, run_cli):
    one_error(run_cli("fly"), "fly", code=2)


def test_limits_of_the_gate_that_make_no_sense(place, runs, run_cli):
    one_error(run_cli("export", runs["classic"], "--out", "b", "--limit", "speed=1"), "--limit speed=1", code=2)


def limited(size, *arguments, cwd):
    command = [sys.executable, "-c", LIMITED, str(size), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, check=False)


@pytest.mark.parametrize("size", [100, 4_000, 50_000])
def test_no_room_to_train(size, place, settings, samples):
    result = limited(
        size, "train", "--finetune", samples / "tagged.txt", "--steps", 2, "--out", "run", *settings(), cwd=place
    )
    one_error(result, "cannot be written", code=1)


@pytest.mark.parametrize("size", [1_000, 50_000])
@pytest.mark.parametrize("quantize", [[], ["--quantize"]])
def test_no_room_to_export(size, quantize, tmp_path, runs, bundle):
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    result = limited(size, "export", runs["classic"], "--out", copy, "--overwrite", *quantize, cwd=tmp_path)
    one_error(result, "cannot be written", code=1)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    result = limited(size, "export", runs["classic"], "--out", "new", *quantize, cwd=tmp_path)
    one_error(result, "cannot be written", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.model", "manifest.json", "README.md"])
def test_a_disk_that_fills_up_during_an_export(name, place, runs, run_cli, monkeypatch):
    real = {method: getattr(Path, method) for method in ("write_bytes", "write_text")}

    def full(method):
        def write(self, data, *args, **kwargs):
            if self.name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real[method](self, data, *args, **kwargs)

        return write

    for method in real:
        monkeypatch.setattr(Path, method, full(method))
    line = one_error(run_cli("export", runs["classic"], "--out", "bundle", "--quantize"), code=1)
    assert "No space left on device" in line


def test_no_permission_to_write(place, runs, samples, settings, run_cli, monkeypatch):
    make = Path.mkdir

    def denied_here(self, *args, **kwargs):
        if self.resolve().is_relative_to(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        make(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", denied_here)
    one_error(run_cli("export", runs["classic"], "--out", "bundle"), "Permission denied", code=1)
    result = run_cli("train", "--pretrain", samples / "raw.txt", "--steps", 1, "--out", "run", *settings())
    one_error(result, "run", "Permission denied", code=1)


def test_a_place_that_cannot_be(tmp_path, runs, samples, settings, run_cli):
    (tmp_path / "file").write_text("mine")
    one_error(run_cli("export", runs["classic"], "--out", tmp_path / "file" / "bundle"), "file", code=1)
    train = ["train", "--pretrain", samples / "raw.txt", "--steps", 1, *settings()]
    one_error(run_cli(*train, "--out", tmp_path / "file" / "run"), "file", code=1)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_package_is_named_with_the_way_to_get_it(run_cli, monkeypatch, samples):
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    result = run_cli("train", "--show-config")
    one_error(result, install_command("train"), code=1)


def test_a_bug_is_not_hidden(monkeypatch, run_cli, bundle):
    monkeypatch.setattr("tinylm.cli.info.read_manifest", lambda _: 1 / 0)
    assert isinstance(run_cli("info", bundle).exception, ZeroDivisionError)
    assert cli.name == "cli"

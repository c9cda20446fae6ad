"""A disk that fills up, at each single operation that takes room: one line, and the last good state is whole."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from full_disk import every_full_disk, full_disk

import tinylm.export.bundle
from tinylm.files import recover_folder
from tinylm.manifest import read_manifest, verify_files
from tinylm.report import charts
from tinylm.run_folder import RunFolder, load_state
from tinylm.runtime.saved_chats import SavedChat
from tinylm.training.checkpoint import check_checkpoint, load_run_model

HELLO = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]
HOW = {"once": {}, "from then on": {"stays": True}, "in the middle of a file": {"cuts": True}}


@pytest.fixture(params=HOW.values(), ids=HOW)
def how(request):
    return request.param


def one_line(result, disk):
    """The error of a command that failed."""
    assert result.exit_code == 1, (disk.failed, result.stderr)
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, (disk.failed, result.stderr)
    assert "cannot be written (No space left on device)" in lines[0] or "(File too large)" in lines[0]
    assert ".tmp" not in lines[0]
    return lines[0]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", [HOW["from then on"], HOW["in the middle of a file"]], ids=["refused", "cut"])
def test_training(how, tmp_path, run_cli, must, settings, samples, monkeypatch):
    monkeypatch.setattr("tinylm.report.report.make_report", Mock(return_value="a report\n" * 9))
    monkeypatch.setattr("tinylm.training.samples.SampleGenerator.__call__", Mock(return_value=[]))
    small = settings(train_validations=1, train_keep_checkpoints=1, model_num_layers=1)
    train = ["train", "--finetune", samples / "tagged.txt", "--steps", 1, *small]
    must(*train, "--out", tmp_path / "cached")
    resumed = 0
    for full in every_full_disk(tmp_path / "place", **how):
        (tmp_path / "place").mkdir()
        out = tmp_path / "place" / "run"
        with full as disk:
            result = run_cli(*train, "--out", out)
        assert [path.name for path in out.parent.iterdir()] == ["run"] * out.exists(), disk.failed
        if result.exit_code:
            line = one_line(result, disk)
            if out.exists():
                assert f"tinylm train --resume {out}" in line
                RunFolder(out).check()
                check_checkpoint(out / "checkpoints" / "last")
                assert not load_state(out / "checkpoints" / "last").finished
                if resumed < 5:
                    must("train", "--resume", out)
                resumed += 1
        else:
            assert load_state(out / "checkpoints" / "last").finished
        if out.exists() and resumed <= 5:
            load_run_model(RunFolder(out), "best")
            assert load_state(out / "checkpoints" / "last").finished
        shutil.rmtree(out.parent)
    assert resumed > 5


@pytest.mark.parametrize("file", ["metrics.jsonl", "report.html"])
def test_a_log_or_a_report_that_cannot_be_written_does_not_end_a_training(
    file, tmp_path, run_cli, settings, samples, monkeypatch
):
    from tinylm.training.pipeline import RunFolder as PipelineFolder

    real = getattr(PipelineFolder, file.split(".")[0])
    monkeypatch.setattr(
        PipelineFolder, file.split(".")[0], property(lambda run: real.fget(run).parent / "nowhere" / file)
    )
    out = tmp_path / "run"
    result = run_cli("train", "--finetune", samples / "tagged.txt", "--steps", 2, *settings(), "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count(f"{file}: cannot be written") == 1
    assert load_state(out / "checkpoints" / "last").finished


@pytest.mark.parametrize(
    ("how", "existing"),
    [(HOW["once"], True), (HOW["from then on"], False), (HOW["from then on"], True), ({"cuts": True}, True)],
    ids=["refused once", "refused", "refused, with an earlier bundle", "cut"],
)
def test_exporting(how, existing, tmp_path, run_cli, runs, bundle, monkeypatch):
    # What the gate finds is the same each time
    figures = None
    real = tinylm.export.bundle.run_gate

    def gate(*arguments):
        nonlocal figures
        figures = figures or real(*arguments)
        return figures

    monkeypatch.setattr("tinylm.export.bundle.run_gate", gate)
    monkeypatch.setattr("tinylm.export.gate.POSITIONS", 64)
    monkeypatch.setattr("tinylm.export.gate.MOST_POSITIONS", 64)
    monkeypatch.setattr("tinylm.export.bundle.GOLDEN_TEXTS", ("Hello!",))
    out = tmp_path / "place" / "bundle"
    if existing:
        shutil.copytree(bundle, out)
    before = contents(bundle) if existing else {}
    limits = ["--limit", "quality_loss_percent=99", "--limit", "greedy_agreement=0"]
    for full in every_full_disk(tmp_path / "place", **how):
        with full as disk:
            result = run_cli("export", runs["classic"], "--quantize", "--out", out, "--overwrite", *limits)
        if result.exit_code:
            one_line(result, disk)
            recover_folder(out)  # as whoever reads it does, where not even a rename was possible
            assert (contents(out) if out.exists() else {}) == before, disk.failed
        else:
            verify_files(out, read_manifest(out))
            before = contents(out)
        assert [path.name for path in (tmp_path / "place").glob("*")] == ["bundle"] * out.exists(), disk.failed


def test_writing_the_report(how, tmp_path, run_cli, must, runs, monkeypatch):
    run = shutil.copytree(runs["classic"], tmp_path / "run")
    monkeypatch.setattr(charts, "chart_svg", Mock(return_value=""))
    before = (run / "report.html").read_bytes()
    for full in every_full_disk(run, **how):
        with full as disk:
            result = run_cli("report", run)
        if disk.failed:
            assert str(run / "report.html") in one_line(result, disk)
            assert (run / "report.html").read_bytes() == before
            assert not list(run.glob(".*"))
    assert result.exit_code == 0


# A reply of three tokens, never of none
SHORT = ("--temperature", "0", "--max-new-tokens", 3, "--logit-bias", "2=-100")


@pytest.mark.parametrize("existing", [False, True])
def test_a_chat_with_a_session(existing, how, tmp_path, run_cli, bundle):
    path = tmp_path / "chats.jsonl"
    replied = 0
    for full in every_full_disk(tmp_path, **how):
        path.unlink(missing_ok=True)
        if existing:
            SavedChat(path).save(HELLO)
        before = path.read_bytes() if existing else None
        with full as disk:
            result = run_cli("chat", bundle, "--session", path, "--prompt", "And?", *SHORT)
        assert [entry.name for entry in tmp_path.iterdir()] == ["chats.jsonl"] * path.exists(), disk.failed
        if result.exit_code:
            assert "chats.jsonl: cannot be written" in one_line(result, disk)
            assert (path.read_bytes() if path.exists() else None) == before
            # What is wrong from the beginning is said before the reply
            if how.get("stays") or how.get("cuts"):
                replied += bool(result.stdout)
                assert not result.stdout or len(disk.failed) > 0
        else:
            assert len(SavedChat(path).load()) == (4 if existing else 2)
    assert replied < 5


def test_a_session_that_cannot_be_written_is_found_before_the_reply(tmp_path, run_cli, bundle):
    path = tmp_path / "chats.jsonl"
    SavedChat(path).save(HELLO)
    for number in (1, 2, 3):
        with full_disk(tmp_path, number, stays=True):
            result = run_cli("chat", bundle, "--session", path, "--prompt", "And?")
        assert result.exit_code == 1
        assert result.stdout == ""
    with full_disk(tmp_path, 1, cuts=True):  # room for an empty file, and for no turn
        result = run_cli("chat", bundle, "--session", path, "--prompt", "And?")
    assert "chats.jsonl: cannot be written (File too large)" in result.stderr
    assert result.stdout == ""


def test_writing_the_world(how, tmp_path, run_cli):
    folder = tmp_path / "world"

    def write(count):
        return run_cli("data", "world", folder, "--documents", count, "--conversations", count)

    assert write(4).exit_code == 0
    new = contents(folder)
    assert write(3).exit_code == 0
    old = contents(folder)
    for full in every_full_disk(tmp_path, **how):
        with full as disk:
            result = write(4)
        now = contents(folder)
        if result.exit_code:
            one_line(result, disk)
            assert now == old or disk.failed[0] == ("os.rename", str(folder / "chats.jsonl"))
            assert now["chats.jsonl"] == old["chats.jsonl"]
            assert now["world.txt"] in {old["world.txt"], new["world.txt"]}
        else:
            assert now == new
        assert write(3).exit_code == 0
    assert not disk.failed


STDOUT_FULL = """
import json, sys
from tinylm.cli.main import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["tinylm", *arguments]
    try:
        main()
    except SystemExit as left:
        print(f"exit {left.code}", file=sys.stderr)
"""


def test_stdout_that_cannot_be_written(tmp_path, runs, bundle, samples):
    run, text = str(runs["classic"]), str(samples / "raw.txt")
    commands = [
        ["eval", run, "--data", text, "--json"],
        ["eval", run],
        ["info", str(bundle)],
        ["info", str(bundle), "--json"],
        ["chat", str(bundle), "--prompt", "Hi"],
        ["chat", str(bundle), "--prompt", "Hi", "--json"],
        ["complete", str(bundle), "--prompt", "Hi"],
        ["data", "inspect", text, "--json"],
        ["data", "inspect", text],
        ["data", "cache"],
        ["report", run],
        ["train", "--show-config"],
        ["completion", "bash"],
        ["--help"],
        ["train", "--help"],
        ["--version"],
    ]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", STDOUT_FULL, json.dumps(commands)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith(("Error: ", "exit "))]
    assert lines == ["Error: stdout: cannot be written (No space left on device)", "exit 1"] * len(commands)

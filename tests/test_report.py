"""report.html, what it is made of, and what it advises."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tinylm.errors import RunError
from tinylm.report.advice import smoothed, stage_advice
from tinylm.report.report import make_report
from tinylm.run_folder import RunFolder
from tinylm.run_log import RunLog, SampleLine, StepLine, ValidationLine, append_event, append_metrics, read_metrics

EVIL = '<script>alert(1)</script> & "quotes" {{ 7 * 7 }} \x1b[2J'


class Page(HTMLParser):
    """The elements of a page, their attributes, and the text outside style sheets."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.text, self._style = [], [], [], "", False
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.ids += [value for name, value in attributes if name == "id"]
        self._style = tag == "style"

    def handle_data(self, data):
        if not self._style:
            self.text += data

    def handle_endtag(self, tag):
        self._style = self._style and tag != "style"


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a trained run without its weights."""
    folder = tmp_path / "mine"
    (folder / "checkpoints" / "last").mkdir(parents=True)
    for name in ("config.toml", "tokenizer.model", "metrics.jsonl", "provenance.json", "checkpoints/last/state.json"):
        (folder / name).write_bytes((runs["classic"] / name).read_bytes())
    return RunFolder(folder)


def test_a_finished_run_has_its_report(runs):
    page = Page((runs["classic"] / "report.html").read_text("utf-8"))
    for part in (
        "finished",
        "bits per byte on held-out data",
        "Pre-training",
        "Fine-tuning",
        "tinylm export",
        "tinylm chat BUNDLE",
        "raw.txt",
        "messages.jsonl",
        "Hello! Who are you?",
        "dim_feedforward",
        "torch 2",
        "started",
        "Speed tokens a second",
    ):
        assert part in page.text, part
    assert page.tags.count("svg") == 4
    assert page.tags.count("figure") == 4


def test_it_needs_nothing_else(runs):
    text = (runs["classic"] / "report.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & {*page.tags}
    for name, value in page.attributes:
        if name in {"href", "xlink:href", "src", "srcset", "action"}:
            assert value.startswith("#"), (name, value)
        assert not name.startswith("on")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text
    assert len(page.ids) == len({*page.ids})
    for target in re.findall(r'(?:href="|url\()#([^")]+)', text):
        assert target in page.ids
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        # Inside HTML, xlink needs no declaration
        ElementTree.fromstring(svg.replace("<svg", '<svg xmlns:xlink="x"', 1))
        assert "var(--" in svg
        assert not re.search(r"#[0-9a-f]{6}", svg)


def test_text_stays_text(run):
    append_metrics(run.metrics, stage="finetune", step=16, prompt=EVIL, sample=EVIL)
    append_event(run.metrics, "finetune", 16, "failed", reason=EVIL)
    provenance = json.loads(run.provenance.read_text())
    provenance["pretrain"]["files"][0]["name"] = "<script>.txt"
    run.provenance.write_text(json.dumps(provenance))
    config = run.config.read_text("utf-8")
    run.config.write_text(re.sub(r"pretrain = \[.*\]", 'pretrain = ["<script>.txt"]', config), "utf-8")
    evil = RunFolder(run.path.rename(run.path.with_name("<script>run")))
    text = make_report(evil)
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.text.count('<script>alert(1)</script> & "quotes" {{ 7 * 7 }}') == 3
    assert "<script>.txt" in page.text
    assert "<script>run" in page.text


def test_while_it_trains(run, must):
    lines = run.metrics.read_text("utf-8").splitlines(keepends=True)
    run.metrics.write_text("".join(lines[:9]) + '{"stage": "pretrain", "st', "utf-8")
    state = json.loads((run.checkpoint("last") / "state.json").read_text())
    (run.checkpoint("last") / "state.json").write_text(json.dumps({**state, "finished": False}))
    assert must("report", run.path).stdout == f"{run.report}\n"
    text = Page(run.report.read_text("utf-8")).text
    assert "in training" in text
    assert f"tinylm train --resume {run.path}" in text
    # Before the first step, and before the first checkpoint
    run.metrics.write_text(lines[0], "utf-8")
    (run.checkpoint("last") / "state.json").unlink()
    assert "No step has been logged yet" in make_report(run)


def test_a_run_of_an_earlier_version_has_one_too(run):
    lines = [line for line in run.metrics.read_text().splitlines(keepends=True) if '"event"' not in line]
    run.metrics.write_text("".join(lines))
    assert "bits per byte on held-out data" in make_report(run)


def test_pre_training_alone_points_to_complete(text_run):
    text = Page((text_run / "report.html").read_text("utf-8")).text
    assert "tinylm complete BUNDLE" in text
    assert "tinylm chat" not in text


def test_values_other_than_the_defaults_are_marked(runs):
    text = (runs["classic"] / "report.html").read_text("utf-8")
    rows = {key: bool(mark) for mark, key in re.findall(r'<tr( class="changed")?><td>(\w+)</td>', text)}
    assert rows["d_model"]
    assert rows["steps"]
    assert not rows["arch"]
    assert not rows["optimizer"]


@pytest.mark.parametrize("what", ["nothing there", "no run", "no metrics", "broken provenance"])
def test_what_cannot_be_reported_on_is_one_error(run, tmp_path, run_cli, what):
    path = run.path
    if what == "nothing there":
        path = tmp_path / "none"
    elif what == "no run":
        path = tmp_path
    elif what == "no metrics":
        run.metrics.unlink()
    else:
        run.provenance.write_text('{"pretrain": 3}')
    result = run_cli("report", path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}")
    assert result.stderr.count("\n") == 1


def test_a_report_that_fails_is_a_notice(tmp_path, make_run, monkeypatch, run_cli, samples, settings):
    def broken(run):
        raise ValueError("no\nfonts")

    monkeypatch.setattr("tinylm.report.report.write_report", broken)
    arguments = ["train", "--finetune", samples / "tagged.txt", "--steps", 2, *settings()]
    result = run_cli(*arguments, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert f"report.html could not be written (no fonts); `tinylm report {tmp_path / 'run'}`" in result.stderr
    assert json.loads((tmp_path / "run" / "checkpoints" / "last" / "state.json").read_text())["finished"]


def test_a_training_that_fails_is_told(tmp_path, run_cli, samples, settings, monkeypatch):
    def fail(trainer, stage):
        raise RunError("the <loss> is lost")

    monkeypatch.setattr("tinylm.training.trainer.Trainer.validate", fail)
    run = RunFolder(tmp_path / "run")
    result = run_cli("train", "--out", run.path, "--finetune", samples / "tagged.txt", "--steps", 4, *settings())
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: the <loss> is lost\n")
    text = Page(run.report.read_text("utf-8")).text
    assert "failed: the <loss> is lost" in text
    assert f"tinylm train --resume {run.path}" in text


def log_of(losses=(), bits=(), samples=()):
    steps = [StepLine("finetune", step, loss, 1e-3, 100.0, 1.0) for step, loss in enumerate(losses, 1)]
    validations = [ValidationLine("finetune", 10 * step, value, value) for step, value in enumerate(bits, 1)]
    return RunLog(steps, validations, [SampleLine("finetune", step, "", "") for step in samples])


GOOD = SimpleNamespace(bits=(3.0, 2.0, 1.5, 1.3, 1.25, 1.24, 1.235, 1.23), epochs=3.0, tokens=10**6, held_out=5000)
FALLING = [5.0 - number / 100 for number in range(200)]
CASES = {
    "nothing to say": ({}, None),
    "overfitting": ({"bits": (3.0, 2.0, 1.5, 1.6, 1.7)}, "the model overfits"),
    "hardly worse": ({"bits": (3.0, 2.0, 1.5, 1.3, 1.305)}, None),
    "still falling": ({"bits": (3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.8, 1.6)}, "more steps or minutes"),
    "still falling, often seen": ({"bits": (3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.8, 1.6), "epochs": 9.0}, None),
    "still falling, stopped": ({"bits": (3.0, 2.8, 2.6, 2.4), "finished": False}, None),
    "seen too often": ({"epochs": 30.0}, "seen 30 times"),
    "little data": ({"tokens": 5000}, "little to train on"),
    "nothing held out": ({"bits": (), "held_out": 0}, "Nothing was held out"),
    "little held out": ({"held_out": 90}, "only 90 tokens"),
    "a jump": ({"losses": [*FALLING, *[6.0] * 100]}, "lower train.finetune_learning_rate"),
    "noise": ({"losses": [value + (number % 2) for number, value in enumerate(FALLING)]}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_advice(case):
    changes, expected = CASES[case]
    values = {**vars(GOOD), "losses": FALLING, "finished": True, **changes}
    sentences = stage_advice(
        log_of(values["losses"], values["bits"]),
        "finetune",
        values["finished"],
        values["epochs"],
        values["tokens"],
        values["held_out"],
    )
    if expected is None:
        assert sentences == []
    else:
        assert len(sentences) == 1
        assert expected in sentences[0]


def test_a_rollback_is_told(run):
    append_event(run.metrics, "finetune", 8, "rolled_back", from_step=12, reason="the loss rose far", rate_factor=0.5)
    text = Page(make_report(run)).text
    assert "rolled back: the loss rose far at step 12" in text
    assert "was rolled back to step 8" in text
    assert "lower train.finetune_learning_rate" in text


def test_smoothing_does_not_lean_on_the_first_value():
    assert smoothed([4.0] * 50) == pytest.approx([4.0] * 50)
    assert smoothed([]) == []
    noisy = smoothed([2.0 + (-1) ** number for number in range(400)])
    assert abs(noisy[-1] - 2.0) < 0.05


def test_lines_of_a_log_come_back_and_odd_ones_are_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_metrics(
        path, stage="pretrain", step=1, loss=3.0, learning_rate=0.1, tokens_per_second=5, seconds=0.5, later_key=1
    )
    append_metrics(path, stage="pretrain", step=1, validation_loss=3.0, bits_per_byte=1.0, best=True)
    append_metrics(path, stage="pretrain", step=1, prompt="a", sample="b")
    append_event(path, "pretrain", 1, "stopped", reason="c")
    with path.open("a") as file:
        file.write('[]\n3\n{"stage": "other", "step": 1, "sample": "", "prompt": ""}\n{"loss": 1}\nnull\n\n{"stage')
    log = read_metrics(path)
    assert [len(part) for part in (log.steps, log.validations, log.samples, log.events)] == [1, 1, 1, 1]
    assert log.events[0].details == {"reason": "c"}
    assert log.stages() == ["pretrain"]


@pytest.mark.parametrize("home", ["/dev/null", "fresh"])
def test_drawing_says_nothing_and_leaves_no_files_of_matplotlib(home, runs, tmp_path):
    place = tmp_path / home  # /dev/null/.cache cannot be made, not even by root
    if home == "fresh":
        place.mkdir()
    others = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tinylm", "report", runs["classic"]],
        env={**environment, "HOME": str(place), "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "report.html" in done.stdout
    assert done.stderr == ""
    assert list((tmp_path / "tmp").iterdir()) == []
    if home == "fresh":
        assert [path.relative_to(place).as_posix() for path in place.glob(".*/*")] == [".cache/tinylm"]


WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxruntime", "safetensors", "tomlkit", "torchvision"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from tinylm.cli.main import main
main()
"""


@pytest.mark.parametrize("command", ["report", "info"])
def test_report_and_info_need_no_package_of_training(command, run, bundle):
    run.report.unlink(missing_ok=True)
    subject = run.path if command == "report" else bundle
    arguments = [sys.executable, "-c", WITHOUT, command, str(subject)]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert run.report.is_file() == (command == "report")


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra(module, run, run_cli, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tinylm.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    result = run_cli("report", run.path)
    assert result.exit_code == 1
    assert f"`tinylm report` needs {module}" in result.stderr
    assert "[report]'" in result.stderr

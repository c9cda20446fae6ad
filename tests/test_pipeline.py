"""`tinylm.training.train`: the same training as `tinylm train`, from Python."""

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tinylm.config import Config, ModelConfig
from tinylm.errors import ConfigError, DataError, RunError, TinyLMError
from tinylm.run_log import read_metrics
from tinylm.training import TrainingCallback, train
from tinylm.training.loss import LossComputer


class Recorder(TrainingCallback):
    """Remembers the calls of its methods."""

    def __init__(self):
        self.calls = []

    def names(self):
        return [name for name, _ in self.calls]

    def of(self, name):
        return [arguments for called, arguments in self.calls if called == name]


def _recording(name):
    def record(self, *arguments):
        self.calls.append((name, arguments))

    return record


for _name in [name for name in vars(TrainingCallback) if name.startswith("on_") or name == "close"]:
    setattr(Recorder, _name, _recording(_name))


@pytest.fixture
def small(small_values):
    return {**small_values, "train.validations": 1}


def test_it_is_the_same_as_the_command(tmp_path, samples, small_values, make_run):
    by_command = make_run(tmp_path / "command", steps=6)
    run = train(
        pretrain=samples / "raw.txt",
        finetune=[str(samples / "tagged.txt"), samples / "messages.jsonl"],
        out=tmp_path / "python",
        settings=small_values,
        steps=6,
    )
    assert run.finished
    assert run.path == Path(run) == tmp_path / "python"
    weights = [path / "checkpoints" / "last" / "model.safetensors" for path in (by_command, run.path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert sorted(path.name for path in by_command.iterdir()) == sorted(path.name for path in run.path.iterdir())
    assert list(run.scores) == ["pretrain", "finetune"]
    assert run.scores["finetune"].bits_per_byte > 0
    assert run.state.stage == "finetune"


def test_its_parameters_are_seen(samples):
    assert list(inspect.signature(train).parameters)[:3] == ["pretrain", "finetune", "out"]
    with pytest.raises(TypeError, match="epochs"):
        train(finetune=samples / "tagged.txt", epochs=3)


def test_callbacks_are_called_in_order(tmp_path, samples, small):
    recorder = Recorder()
    run = train(finetune=samples / "tagged.txt", out=tmp_path / "run", settings=small, steps=2, callbacks=[recorder])
    names = [name for name in recorder.names() if name not in ("on_message", "on_warning")]
    assert names == [
        "on_start",
        "on_plan",
        "on_stage_start",
        "on_step",
        "on_step",
        "on_validation",
        "on_samples",
        "on_end",
        "close",
    ]
    assert recorder.of("on_start") == [(run.folder,)]
    assert recorder.of("on_end") == [(run.folder, run.state, None)]
    assert any(message.startswith("Model: classic") for (message,) in recorder.of("on_message"))
    ((_, step, score, is_best),) = recorder.of("on_validation")
    assert (step, is_best) == (2, True)
    assert score.bits_per_byte == pytest.approx(run.scores["finetune"].bits_per_byte, abs=1e-4)


class StopsAfter(TrainingCallback):
    def __init__(self, steps):
        self.steps = steps

    def should_stop(self):
        self.steps -= 1
        return self.steps == 0


@pytest.mark.parametrize("how", ["callback", "should_stop"])
def test_a_stopped_run_goes_on(tmp_path, samples, small, how):
    stopper = StopsAfter(2)
    options = {"callbacks": [stopper]} if how == "callback" else {"should_stop": stopper.should_stop}
    arguments = {"finetune": samples / "tagged.txt", "settings": {**small, "train.validations": 2}, "steps": 4}
    run = train(**arguments, out=tmp_path / "run", **options)
    assert not run.finished
    assert run.state.step == 2
    resumed = train(resume=run)
    assert resumed.finished
    assert "finetune" in resumed.scores
    straight = train(**arguments, out=tmp_path / "straight")
    weights = [each.path / "checkpoints" / "last" / "model.safetensors" for each in (resumed, straight)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(RunError, match="has finished"):
        train(resume=resumed)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ConfigError, "nothing to train on"),
        ({"finetune": ""}, ConfigError, "--finetune: the path is empty"),
        ({"finetune": "none.txt"}, DataError, "none.txt"),
        ({"finetune": "none.txt", "steps": 1, "minutes": 1}, ConfigError, "--steps and --minutes"),
        ({"finetune": "none.txt", "steps": 0}, ConfigError, "--steps 0: give at least 1"),
        ({"finetune": "none.txt", "minutes": -1}, ConfigError, "train.minutes"),
        ({"resume": "run", "out": "run", "steps": 3}, ConfigError, "leave out --out, --steps"),
        ({"resume": "nowhere"}, RunError, "nowhere: no such run folder"),
        ({"new_tokenizer": True}, ConfigError, "--new-tokenizer"),
        ({"config": "none.toml"}, ConfigError, "none.toml: cannot be read"),
        ({"config": {"model": 5}}, ConfigError, "model: must be a section"),
        ({"config": {"modle": {}}}, ConfigError, "unknown section"),
        ({"settings": {"model.d_modle": 8}}, ConfigError, "did you mean d_model"),
        ({"settings": {"d_model": 8}}, ConfigError, "section.key=value"),
        ({"settings": ["model.d_model"]}, ConfigError, "section.key=value"),
    ],
)
def test_errors_are_the_command_s(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        train(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_as_a_mapping_an_object_and_a_file(tmp_path, samples, small, monkeypatch):
    shape = {"d_model": 32, "nhead": 2, "num_layers": 1, "dim_feedforward": 32, "context_length": 64, "vocab_size": 300}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "chats.txt").write_bytes((samples / "tagged.txt").read_bytes())
    (tmp_path / "data" / "my.toml").write_text(
        '[data]\nfinetune = ["chats.txt"]\n[model]\n' + "\n".join(f"{key} = {value}" for key, value in shape.items())
    )
    monkeypatch.chdir(tmp_path)
    settings = {name: value for name, value in small.items() if name.startswith("train")}
    chats = {"finetune": "data/chats.txt"}
    for number, options in enumerate(
        (
            {"config": {"model": shape}, **chats},
            {"config": Config(model=ModelConfig(**shape)), **chats},
            {"config": "data/my.toml"},
        )
    ):
        run = train(**options, settings=settings, steps=1, out=f"run-{number}")
        config = run.folder.load_config()
        assert config.model.d_model == 32
        assert config.data.finetune == [str(tmp_path / "data" / "chats.txt")]


def test_relative_paths_do_not_hinder_going_on_from_another_folder(tmp_path, samples, small, monkeypatch):
    (tmp_path / "chats.txt").write_bytes((samples / "tagged.txt").read_bytes())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for number, options in enumerate(
        ({"finetune": "chats.txt"}, {"settings": {**small, "data.finetune": ["chats.txt"]}})
    ):
        run = train(**{"settings": small, **options}, steps=2, out=tmp_path / f"run-{number}", should_stop=lambda: True)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert train(resume=run).finished
        monkeypatch.chdir(tmp_path)


INTERRUPTED = """
import os, signal, sys
from tinylm.training import TrainingCallback, train
from tinylm.training.loss import LossComputer

class Interrupt(TrainingCallback):
    def on_step(self, report):
        if report.step == 2:
            for _ in range(int(sys.argv[3])):
                os.kill(os.getpid(), getattr(signal, sys.argv[2]))

run = train(finetune=sys.argv[1], out="run", steps=6, settings=sys.argv[4:], callbacks=[Interrupt()])
print(run.finished, run.state.step)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_returns(name, tmp_path, samples, small):
    settings = [f"{key}={value}" for key, value in small.items()]
    command = [sys.executable, "-c", INTERRUPTED, samples / "tagged.txt", name, "1", *settings]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "False 3"
    # The program's own handler is back
    assert train(resume=tmp_path / "run").finished


def test_a_second_signal_leaves_at_once(tmp_path, samples, small):
    settings = [f"{key}={value}" for key, value in small.items()]
    command = [sys.executable, "-c", INTERRUPTED, samples / "tagged.txt", "SIGINT", "2", *settings]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode != 0
    assert "KeyboardInterrupt" in result.stderr
    assert train(resume=tmp_path / "run").finished


def test_signals_that_the_program_handles_itself_are_left_to_it(tmp_path, samples, small):
    handled = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: handled.append(number))
    try:

        class Terminate(TrainingCallback):
            def on_step(self, _):
                os.kill(os.getpid(), signal.SIGTERM)

        arguments = {"finetune": samples / "tagged.txt", "out": tmp_path / "run", "settings": small, "steps": 2}
        assert train(**arguments, callbacks=[Terminate()]).finished
        assert handled == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_in_a_thread(tmp_path, samples, small):
    results = []
    arguments = {"finetune": samples / "tagged.txt", "out": tmp_path / "run", "settings": small, "steps": 2}
    thread = threading.Thread(target=lambda: results.append(train(**arguments)))
    thread.start()
    thread.join(60)
    assert results[0].finished


def test_a_callback_that_cannot_write_is_left_out_and_training_goes_on(tmp_path, samples, small):
    class Full(TrainingCallback):
        called = 0

        def on_step(self, _):
            type(self).called += 1
            raise OSError(28, "No space left on device")

    recorder = Recorder()
    arguments = {"finetune": samples / "tagged.txt", "out": tmp_path / "run", "settings": small, "steps": 3}
    assert train(**arguments, callbacks=[Full(), recorder]).finished
    assert Full.called == 1
    assert ("no more reports to Full: No space left on device",) in recorder.of("on_warning")


def test_the_package_is_cheap_to_import():
    script = "import sys, tinylm.training; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_progress_is_printed_unless_it_is_not_wanted(tmp_path, samples, small, capsys):
    arguments = {"finetune": samples / "tagged.txt", "settings": small, "steps": 2}
    train(**arguments, out=tmp_path / "a")
    printed = capsys.readouterr()
    for part in ("Model: classic", "fine-tuning: 2 steps", "finetune step      2  loss", "finetune sample Hello!"):
        assert part in printed.out
    assert printed.err == ""
    train(**arguments, out=tmp_path / "b", progress=False)
    assert capsys.readouterr() == ("", "")


OUT_OF_MEMORY = {
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …\nmore lines"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 9.03 MB)"),
    "numpy": MemoryError("Unable to allocate 1.00 TiB"),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_too_little_memory_is_one_line_and_an_event(kind, tmp_path, samples, settings, run_cli, monkeypatch):
    calls = []
    real = LossComputer.backward

    def backward(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OUT_OF_MEMORY[kind]
        return real(self, *arguments)

    monkeypatch.setattr(LossComputer, "backward", backward)
    run = tmp_path / "run"
    arguments = ["--finetune", samples / "tagged.txt", "--out", run, "--steps", 4, *settings()]
    result = run_cli("train", *arguments)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.stderr.splitlines()[-1] == line
    assert "--set train.batch_size=4 --set train.accumulate=2" in line
    assert f"tinylm train --resume {run}" in line
    event = read_metrics(run / "metrics.jsonl").events[-1]
    assert (event.event, event.details["reason"].partition(":")[0]) == ("failed", "too little memory to train on cpu")
    assert "failed" in (run / "report.html").read_text("utf-8")
    # The last good state is whole
    assert train(resume=run).finished


def test_too_little_memory_before_the_first_step_leaves_nothing(tmp_path, samples, small, monkeypatch):
    def no_memory(self, *_):
        raise MemoryError

    monkeypatch.setattr(LossComputer, "__init__", no_memory)
    with pytest.raises(TinyLMError, match="too little memory to train: try a smaller"):
        train(finetune=samples / "tagged.txt", out=tmp_path / "run", steps=4, settings=small)
    assert not (tmp_path / "run").exists()


STARVED = """
import resource, sys
import tinylm.training.pipeline
from tinylm.cli.main import main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000, used + 700_000_000))
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_memory_that_really_runs_out(tmp_path, samples, settings):
    arguments = ["train", "--finetune", samples / "tagged.txt", "--out", "run", "--steps", 2]
    arguments += settings(train_batch_size=32768, model_d_model=256, model_dim_feedforward=1024)
    command = [sys.executable, "-c", STARVED, *map(str, arguments)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("Error: too little memory to train on cpu: try --set train.batch_")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("text", ["a", "ab", " 字 ", "a\n\nb"])
def test_the_least_text_is_enough(text, tmp_path, small, must):
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    inspected = json.loads(must("data", "inspect", tmp_path / "text.txt", "--json").stdout)
    run = train(pretrain=tmp_path / "text.txt", out=tmp_path / "run", settings=small, steps=2)
    assert run.finished
    assert inspected["ok"]
    assert max(run.folder.load_tokenizer().vocab_size, inspected["vocab_size"]) < 270
    must("export", run.path, "--quantize", "--out", tmp_path / "bundle")

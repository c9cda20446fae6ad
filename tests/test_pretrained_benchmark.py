"""The benchmark of a pre-trained model: which commands it runs, and what it prints of what they find."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tinylm.errors import TinyLMError

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("pretrained")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def data(benchmark, tmp_path):
    chats = [
        {"messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"It is {n}."}]}
        for n in range(40)
    ]
    (tmp_path / benchmark.CHATS).write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    return tmp_path


def test_both_models_are_trained_and_measured(benchmark, data, monkeypatch, capsys):
    commands = []

    def run_command(command, environment=None):
        commands.append([Path(part).name for part in command])
        return ""

    def run_and_measure(command, environment=None):
        run_command(command)
        peak = 5e9 if "--init" in command else 1e9
        return "A line.\nChosen for 2 minutes:\n  adapters\nModel: llama\n", peak

    def evaluate(model, held_out, replies, training, environment):
        commands.append(["eval", model.name, held_out.name, replies, [path.name for path in training]])
        return {
            "bits_per_byte": {"imported": 1.5, "finetuned": 1.0}.get(model.name, 1.25),
            "hits_at_1_of_10": 0.5,
            "hits_at_1_of_10_standard_error": 0.1,
            "repetition": 0.2,
            "longest_copied_run": 7,
        }

    class Here:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def call(self, _, bundle):
            return [("Hi!", f"I am {bundle.name}.")]

    monkeypatch.setattr(benchmark, "run_command", run_command)
    monkeypatch.setattr(benchmark, "run_and_measure", run_and_measure)
    monkeypatch.setattr(benchmark, "evaluate", evaluate)
    monkeypatch.setattr(benchmark, "Worker", Here)
    assert benchmark.main(["--data", str(data), "--minutes", "2", "--model", "some.gguf", "--replies", "50"]) == 0
    kinds = [command[0] if command[0] == "eval" else command[1] for command in commands]
    assert kinds == ["import", "eval", "train", "export", "eval", "eval", "train", "export", "eval", "eval"]
    assert commands[2][2:8] == ["--init", "imported", "--finetune", "training.jsonl", "--minutes", "2"]
    assert "--init" not in commands[6]
    assert "model.arch=modern" in commands[6]
    assert [command[1] for command in commands if command[0] == "eval"] == [
        "imported",
        "finetuned",
        "finetuned.int8",
        "scratch",
        "scratch.int8",
    ]
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)["figures"]
    assert figures["bits_per_byte_imported"] == 1.5
    assert figures["bits_per_byte_finetuned"] == 1.0
    assert figures["bits_per_byte_scratch"] == figures["bits_per_byte_finetuned_int8"] == 1.25
    assert figures["hits_at_1_of_10_finetuned"] == 0.5
    assert (figures["peak_memory_gb"], figures["peak_memory_gb_scratch"]) == (5.0, 1.0)
    assert "    adapters" in lines
    assert "  I am finetuned.int8." in lines
    assert not any("Model: llama" in line or "A line" in line for line in lines)


def test_a_command_that_fails_is_a_line(benchmark, data, capsys):
    assert benchmark.main(["--data", str(data), "--model", str(data / "none.gguf")]) == 1
    assert capsys.readouterr().err.startswith("Error: ")


def test_memory_is_that_of_the_command(benchmark):
    commands = sys.modules["commands"]
    code = "import sys, time; data = bytearray(b'1' * 300_000_000); print('said', file=sys.stderr); time.sleep(1)"
    lines, peak = commands.run_and_measure(commands.python(code))
    assert lines == "said\n"
    assert 3e8 < peak < 7e8
    with pytest.raises(TinyLMError, match="no such thing"):
        commands.run_and_measure(commands.python("raise SystemExit('no such thing')"))

"""The benchmark of replies: how it parts the conversations, and what it prints of its measurements."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tinylm.data import iter_conversations

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("persona")
    finally:
        sys.path.remove(str(FOLDER))


def chat(number):
    return [{"role": "user", "content": f"What is {number}?"}, {"role": "assistant", "content": f"It is {number}."}]


def test_a_conversation_is_on_one_side(benchmark, tmp_path):
    chats = [chat(number % 300) for number in range(600)]
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps({"messages": one}) + "\n" for one in chats))
    training, held_out = (list(iter_conversations(path)) for path in benchmark.split(file, tmp_path))
    assert sorted([*training, *held_out], key=str) == sorted(chats, key=str)
    assert not [one for one in held_out if one in training]
    assert 30 <= len(held_out) <= 100


def test_it_prints_what_eval_finds(benchmark, tmp_path, monkeypatch, capsys):
    file = tmp_path / benchmark.CHATS
    file.write_text("".join(json.dumps({"messages": chat(number)}) + "\n" for number in range(40)))
    (tmp_path / benchmark.STORIES).write_text("Once upon a time.\n")
    commands = []

    def run_command(command, environment=None):
        commands.append([Path(part).name for part in command])
        found = {
            "bits_per_byte": 1.25,
            "hits_at_1_of_10": 0.5 if "run" in commands[-1] else 0.4,
            "hits_at_1_of_10_standard_error": 0.1,
            "hits_at_1_of_10_baseline": 0.3,
            "hits_at_1_of_10_baselines": {"chance": 0.1, "word_overlap": 0.3},
            "repetition": 0.2,
            "repetition_baseline": 0.0,
            "longest_copied_run": 7,
            "longest_copied_run_baseline": 3,
        }
        return json.dumps(found)

    monkeypatch.setattr(benchmark, "run_command", run_command)
    assert benchmark.main(["--data", str(tmp_path), "--minutes", "2", "--arch", "modern", "--replies", "50"]) == 0
    assert [command[1] for command in commands] == ["train", "export", "eval", "eval"]
    assert commands[0][2:8] == ["--pretrain", benchmark.STORIES, "--finetune", "training.jsonl", "--minutes", "2"]
    assert commands[3][2:6] == ["bundle", "--data", "held-out.jsonl", "--replies"]
    *table, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)["figures"]
    assert figures["modern.run.hits_at_1_of_10"] == 0.5
    assert figures["modern.int8.hits_at_1_of_10"] == 0.4
    assert figures["hits_at_1_of_10_baseline"] == figures["baseline.word_overlap"] == 0.3
    assert any("modern, run" in line and "50.0% ± 10.0%" in line for line in table)
    assert any("people" in line and " 3 " in line for line in table)

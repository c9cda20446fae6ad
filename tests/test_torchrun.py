"""`tinylm train` under torchrun: one process speaks and writes, and what comes out is what one process makes."""

import json
import subprocess
import sys

import pytest


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_train_a_run(tmp_path, settings, must, samples):
    chats = samples / "tagged.txt"
    arguments = [str(part) for part in ("--finetune", chats, "--steps", 10, *settings())]
    must("train", *arguments, "--out", tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tinylm"]
    command = [*torchrun, "train", *arguments, "--out", str(tmp_path / "two")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Run folder:") == 1
    assert "2 processes of 1 threads" in result.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert names[0] == names[1]
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode != 0
    assert again.stderr.count("exists already; give another --out") == 1
    must("export", tmp_path / "two", "--out", tmp_path / "bundle")

"""`tinylm train --init RUN` with low-rank adapters: from files to plain weights."""

import re
import tomllib

import pytest
from safetensors.torch import load_file

from tinylm.training import train

SETTINGS = {"train.threads": 1, "train.precision": "fp32", "train.batch_size": 4, "train.validations": 2}


def checkpoint(run, name="last"):
    return load_file(run / "checkpoints" / name / "model.safetensors")


def training_of(run):
    return tomllib.loads((run / "config.toml").read_text())["train"]


@pytest.fixture(scope="module", params=["classic", "modern"])
def base(request, runs):
    return runs[request.param]


def test_a_run_of_adapters_is_one_of_plain_weights(base, tmp_path, samples, must):
    out = tmp_path / "run"
    options = [f"--set={name}={value}" for name, value in {**SETTINGS, "train.lora_rank": 4}.items()]
    result = must("train", "--init", base, "--finetune", samples / "tagged.txt", "--steps", 6, "--out", out, *options)
    counts = re.search(r"([\d,]+) parameters \(([\d,]+) trained in adapters\)", result.stderr.replace("\n", " "))
    assert counts
    parameters, trained = (int(count.replace(",", "")) for count in counts.groups())
    before, after = checkpoint(base, "best"), checkpoint(out)
    assert parameters == sum(tensor.numel() for tensor in before.values()) > 5 * trained > 0
    assert after.keys() == before.keys() == checkpoint(out, "best").keys()
    # Only the matrices of the blocks, all of them
    changed = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert changed == {name for name, tensor in before.items() if name.startswith("blocks") and tensor.ndim == 2}
    assert training_of(out)["freeze_embeddings"] == "on"
    must("eval", out, "--replies", 0)
    must("export", out, "--out", tmp_path / "bundle", "--quantize")


def test_a_resumed_run_ends_in_the_same_bits(base, tmp_path, samples):
    arguments = {"init": base, "finetune": samples / "tagged.txt", "steps": 5, "progress": False}
    arguments["settings"] = {**SETTINGS, "train.lora_rank": 4, "train.gradient_checkpointing": True}
    straight = train(**arguments, out=tmp_path / "straight")
    left = [2, 2, 9]
    stopped = train(**arguments, out=tmp_path / "run", should_stop=lambda: _count_down(left))
    while not stopped.finished:
        assert any("adapter" in name for name in checkpoint(stopped.path))
        left.pop(0)
        stopped = train(resume=stopped, progress=False, should_stop=lambda: _count_down(left))
    assert left == [9 - 1]
    for name in ("last", "best"):
        first, second = checkpoint(straight.path, name), checkpoint(stopped.path, name)
        assert first.keys() == second.keys()
        assert all(tensor.equal(second[key]) for key, tensor in first.items())


def _count_down(left):
    left[0] -= 1
    return left[0] == 0


def test_symbols_that_are_new_to_the_model_are_learnt(text_run, tmp_path, samples):
    settings = {**SETTINGS, "train.lora_rank": 4}
    run = train(
        init=text_run, finetune=samples / "tagged.txt", steps=2, out=tmp_path / "run", settings=settings, progress=False
    )
    assert training_of(run.path)["freeze_embeddings"] == "off"
    assert not checkpoint(run.path)["embedding.weight"].equal(checkpoint(text_run)["embedding.weight"])
    more = train(
        init=text_run, pretrain=samples / "raw.txt", steps=2, out=tmp_path / "more", settings=settings, progress=False
    )
    assert training_of(more.path)["freeze_embeddings"] == "on"


@pytest.mark.parametrize("setting", ["train.lora_rank=4", "train.freeze_embeddings=on"])
def test_a_new_model_is_trained_as_a_whole(setting, samples, tmp_path, run_cli):
    result = run_cli("train", "--finetune", samples / "tagged.txt", "--out", tmp_path / "run", "--set", setting)
    assert result.exit_code == 2
    key = setting.partition("=")[0]
    assert result.stderr.splitlines()[-1] == f"Error: {key} leaves weights as they are, which goes with --init RUN"
    assert not (tmp_path / "run").exists()


def test_a_rank_that_is_too_high_is_a_line(base, tmp_path, samples, run_cli):
    options = ["--set", "train.lora_rank=100", "--steps", "2", "--out", tmp_path / "run"]
    result = run_cli("train", "--init", base, "--finetune", samples / "tagged.txt", *options)
    assert result.exit_code == 2
    assert result.stderr.strip().splitlines()[-1].startswith("Error: train.lora_rank: 100 is more than")
    assert "Traceback" not in result.stderr

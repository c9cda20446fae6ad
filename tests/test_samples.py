"""Samples of a model in training: they show it learn, and change and endanger nothing."""

import json

import torch

from tinylm.config import TrainConfig
from tinylm.run_folder import RunFolder
from tinylm.run_log import read_metrics
from tinylm.training.samples import SampleGenerator


def weights(run):
    return [(run / "checkpoints" / name / "model.safetensors").read_bytes() for name in ("best", "last")]


def test_training_is_the_same_with_and_without_samples(runs, make_run, tmp_path):
    common = {"steps": 12, "model_dropout": 0.2, "train_validations": 3}
    without = make_run(tmp_path / "without", train_sample_tokens=0, **common)
    with_samples = make_run(tmp_path / "with", **common)
    assert weights(with_samples) == weights(without)
    assert read_metrics(RunFolder(without).metrics).samples == []
    samples = read_metrics(RunFolder(with_samples).metrics).samples
    assert {sample.stage for sample in samples} == {"pretrain", "finetune"}
    assert {sample.prompt for sample in samples} == {"", "Hello! Who are you?"}
    # At each stage's end there is one
    assert {(sample.stage, sample.step) for sample in samples} >= {("pretrain", 6), ("finetune", 6)}


def test_prompts_of_ones_own(make_run, tmp_path):
    run = make_run(
        tmp_path / "run", steps=4, train_validations=1, train_sample_prompts='["Who?", "Wo ist Pip?"]', train_seed=3
    )
    samples = read_metrics(RunFolder(run).metrics).samples
    assert [(sample.stage, sample.prompt) for sample in samples] == [
        (stage, prompt) for stage in ("pretrain", "finetune") for prompt in ("Who?", "Wo ist Pip?")
    ]


def test_a_sampler_leaves_random_numbers_alone_and_is_repeatable(random_model, bundle):
    from tinylm.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(bundle / "tokenizer.model")
    model = random_model(vocab_size=tokenizer.vocab_size)
    said = []
    sampler = SampleGenerator(TrainConfig(sample_tokens=9), model, tokenizer, said.append)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = sampler("finetune")
    assert torch.equal(torch.get_rng_state(), before)
    assert [sample.text for sample in sampler("finetune")] == [sample.text for sample in first]
    assert 1 <= len(tokenizer.encode(first[0].text)) <= 12
    assert said == []


def test_what_goes_wrong_is_said_once_and_training_goes_on(tmp_path, run_cli, settings, samples, monkeypatch):
    def broken(sampler, stage, prompt):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("tinylm.training.samples.SampleGenerator._generate", broken)
    arguments = ["--finetune", samples / "tagged.txt", "--steps", 6, *settings(train_validations=3)]
    result = run_cli("train", "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("no more samples in this run: out of memory") == 1
    assert json.loads((tmp_path / "run" / "checkpoints" / "last" / "state.json").read_text())["finished"]


def test_a_prompt_that_does_not_fit_is_no_error(tmp_path, run_cli, settings, samples):
    arguments = ["--finetune", samples / "tagged.txt", "--steps", 2, *settings()]
    result = run_cli(
        "train", "--out", tmp_path / "run", *arguments, "--set", f'train.sample_prompts=["{"long " * 200}"]'
    )
    assert result.exit_code == 0, result.stderr
    assert "no more samples in this run: the prompt has" in result.stderr

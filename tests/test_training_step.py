"""One training step: gradients, precision, batches and dropout."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from counting import (
    BOTH,
    Listener,
    config_of,
    counting_rows,
    counting_windows,
    make_model,
    make_trainer,
    saved_weights,
    stages_of,
)
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tinylm.evaluation import IGNORED
from tinylm.training.callbacks import TrainingCallback
from tinylm.training.stage import Stage
from tinylm.training.window_losses import model_losses


@contextmanager
def recorded_gradients():
    """The gradients, flat, that the optimizers get."""
    gradients = []

    def record(optimizer, *_):
        gradients.extend(p.grad.flatten().clone() for group in optimizer.param_groups for p in group["params"])

    handle = register_optimizer_step_pre_hook(record)
    try:
        yield gradients
    finally:
        handle.remove()


def test_accumulated_passes_equal_one_large_one(tmp_path):
    results = []
    for size, parts in ((8, 1), (4, 2), (2, 4)):
        config = config_of(steps=1, batch_size=size, accumulate=parts)
        listener = Listener()
        stages = [Stage("finetune", counting_rows(holes=True), [], 0.01)]
        with recorded_gradients() as gradients:
            make_trainer(tmp_path / str(parts), config, stages=stages, callbacks=listener).train()
        results.append((listener.steps[0].loss, torch.cat(gradients)))
    for loss, gradient in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_mean_of_supervised_tokens(tmp_path):
    config = config_of(steps=1)
    rows = counting_rows(holes=True)
    model = make_model(config)
    inputs, targets = (torch.from_numpy(part) for part in rows.batch(0, 4)[:2])
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED).item()
    listener = Listener()
    make_trainer(tmp_path, config, model=model, stages=[Stage("finetune", rows, [], 0.01)], callbacks=listener).train()
    assert listener.steps[0].loss == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_clipped(tmp_path):
    config = config_of(steps=1, clip_norm=1e-3)
    with recorded_gradients() as gradients:
        make_trainer(tmp_path, config, names=("pretrain",)).train()
    assert torch.cat(gradients).norm().item() == pytest.approx(1e-3, rel=1e-3)
    with recorded_gradients() as gradients:
        make_trainer(tmp_path / "free", config_of(steps=1, clip_norm=0.0), names=("pretrain",)).train()
    assert torch.cat(gradients).norm().item() > 0.1


def test_bf16_is_for_computing_and_not_for_keeping(tmp_path):
    config = config_of(steps=4, precision="bf16")
    trainer = make_trainer(tmp_path, config)
    assert trainer.train().finished
    assert {tensor.dtype for tensor in saved_weights(tmp_path, config).values()} == {torch.float32}
    exact = make_trainer(tmp_path / "fp32", config_of(steps=4))
    exact.train()
    assert not torch.equal(trainer.model.embedding.weight, exact.model.embedding.weight)


@pytest.mark.parametrize("arch", ["classic", "modern", "llama"])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_windows_of_different_lengths_can_share_a_batch(arch, batch_size, monkeypatch):
    model = make_model(config_of({"arch": arch})).eval()
    windows = counting_windows()
    windows[0].targets[3] = IGNORED
    expected = 0.0
    for window in windows:
        logits = model(torch.from_numpy(window.inputs)[None])[0]
        targets = torch.from_numpy(window.targets)
        expected += F.cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORED).item()
    assert len({len(window.inputs) for window in windows}) > 1
    monkeypatch.setattr(model, "forward", None)  # logits of all positions at once
    assert model_losses(model, windows, batch_size) == pytest.approx(expected, rel=1e-5)


def test_validation_is_without_dropout_and_leaves_the_model_in_training(tmp_path):
    config = config_of({"dropout": 0.5})
    trainer = make_trainer(tmp_path, config)
    trainer.model.train()
    first, second = (trainer.validate(trainer.stages[0]) for _ in range(2))
    assert first == second
    assert first.tokens == first.bytes == 38 + 13
    assert trainer.model.training
    assert first.nll == pytest.approx(model_losses(trainer.model.eval(), counting_windows()), rel=1e-5)


def test_every_pass_has_rows_of_its_own_and_every_step_dropout_of_its_own(tmp_path):
    asked, seeds = [], []

    class Recorded:
        def batch(self, index, size):
            asked.append((index, size))
            return counting_rows().batch(index, size)

    class Seeds(TrainingCallback):
        def on_step(self, _):
            seeds.append(torch.initial_seed())

    config = config_of(steps=6, accumulate=3)
    make_trainer(tmp_path, config, stages=stages_of(*BOTH, batches=Recorded()), callbacks=Seeds()).train()
    assert asked == [(index, 4) for index in range(9)] * 2
    assert len(set(seeds)) == 6

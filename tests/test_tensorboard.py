"""`tinylm train --tensorboard`."""

import errno
import json
import os
from contextlib import closing

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tinylm.evaluation import Score
from tinylm.installation import install_command
from tinylm.training.callbacks import StepReport, TrainingSample
from tinylm.training.tensorboard import TensorBoardCallback


def scalars(folder):
    events = EventAccumulator(str(folder), purge_orphaned_data=True)
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def report(stage, step):
    return StepReport(stage, step, 10, float(step), 0.5, 100.0)


def test_steps_go_on_through_the_stages_and_a_resumed_run_purges(tmp_path):
    plan = {"pretrain": 3, "finetune": 4}
    with closing(TensorBoardCallback(tmp_path)) as board:
        board.on_plan(plan)
        board.on_stage_start("pretrain", 0, 3)
        for step in (1, 2, 3):
            board.on_step(report("pretrain", step))
        board.on_validation("pretrain", 3, Score(7.0, 7, 7), True)
        board.on_stage_start("finetune", 0, 4)
        for step in (1, 2, 3):
            board.on_step(report("finetune", step))
        board.on_samples("finetune", 3, [TrainingSample("Hi", "there")])
    # Killed after step 3, while the last checkpoint was of step 1
    with closing(TensorBoardCallback(tmp_path)) as board:
        board.on_plan(plan)
        board.on_stage_start("finetune", 1, 4)
        board.on_step(report("finetune", 2))
        board.on_step(report("finetune", 3))
        board.on_rollback("finetune", 2)
    found = scalars(tmp_path)
    assert found["pretrain/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert found["pretrain/validation_loss"] == [(3, 1.0)]
    assert found["finetune/loss"] == [(4, 1.0), (5, 2.0)]
    assert set(found) == {
        *(f"{stage}/{name}" for stage in plan for name in ("loss", "learning_rate", "tokens_per_second")),
        "pretrain/validation_loss",
        "pretrain/bits_per_byte",
    }


def test_the_command_writes_what_metrics_say(tmp_path, must, settings, samples):
    run = tmp_path / "run"
    must("train", "--finetune", samples / "tagged.txt", "--steps", 4, *settings(), "--out", run, "--tensorboard")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = scalars(run / "tensorboard")
    assert [step for step, _ in found["finetune/loss"]] == [1, 2, 3, 4]
    assert [value for _, value in found["finetune/loss"]] == pytest.approx(
        [line["loss"] for line in lines if "loss" in line], abs=1e-4
    )
    assert [value for _, value in found["finetune/bits_per_byte"]] == pytest.approx(
        [line["bits_per_byte"] for line in lines if "bits_per_byte" in line], abs=1e-4
    )


@pytest.mark.parametrize("how", ["new", "resume"])
def test_without_the_package_it_is_one_error_before_any_work(tmp_path, run_cli, samples, text_run, monkeypatch, how):
    monkeypatch.setattr("tinylm.training.options.find_spec", lambda _: None)
    run = tmp_path / "run"
    arguments = ["--resume", text_run] if how == "resume" else ["--finetune", samples / "tagged.txt", "--out", run]
    arguments += [] if how == "resume" else ["--steps", 1]
    result = run_cli("train", *arguments, "--tensorboard")
    assert result.exit_code == 1
    assert install_command("tensorboard") in result.stderr
    assert result.stderr.count("\n") == 1
    assert not run.exists()


def test_a_full_disk_ends_the_curves_and_not_the_training(tmp_path, run_cli, settings, samples, monkeypatch):
    written = 0

    def full_disk(self, data):
        nonlocal written
        written += 1
        if written > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full_disk)
    run = tmp_path / "run"
    result = run_cli(
        "train", "--finetune", samples / "tagged.txt", "--steps", 4, *settings(), "--out", run, "--tensorboard"
    )
    assert result.exit_code == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("no more reports to TensorBoardCallback: No space left on device") == 1
    assert (run / "report.html").is_file()

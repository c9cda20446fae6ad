"""Several processes learn what one does: DDP and FSDP2 over gloo, started by torchrun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from counting import Stopper, config_of, make_model, make_trainer, metrics, saved_weights

from tinylm.errors import RunError
from tinylm.run_folder import RunFolder, load_state
from tinylm.training.checkpoint import load_parameters
from tinylm.training.distributed import Ranks
from tinylm.training.trained_weights import prepare_model

SUPPORT = Path(__file__).parent / "support"
STEPS = 24


def train(path, processes, **values):
    """Let so many processes train, each starting with other weights, and one of them perhaps ask to stop."""
    values = {"steps": STEPS, "validations": 3, **values}
    run(processes, "ranks.py", str(path), *(f"{key}={json.dumps(value)}" for key, value in values.items()))
    return path


def run(processes, script, *arguments):
    """Let torchrun start a script of ours."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(SUPPORT / script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr


def losses(path):
    return [line["loss"] for line in metrics(path) if "loss" in line]


def validations(path):
    return [line["validation_loss"] for line in metrics(path) if "validation_loss" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    make_trainer(path, config_of(steps=STEPS, validations=3)).train()
    return path


def test_two_processes_learn_what_one_does(tmp_path, alone):
    train(tmp_path, 2)
    ours, expected = losses(tmp_path), losses(alone)
    assert len(ours) == len(expected) == STEPS
    assert ours == pytest.approx(expected, abs=1e-3)
    assert expected[-1] < expected[0] - 0.5  # it is learning that is compared
    assert validations(tmp_path) == pytest.approx(validations(alone), abs=1e-3)
    folders = [sorted(folder.name for folder in (path / "checkpoints").iterdir()) for path in (tmp_path, alone)]
    assert folders[0] == folders[1]


def test_a_run_in_parts_goes_on_in_one_process(tmp_path, alone):
    train(tmp_path, 2, sharded=True, stop_after=STEPS // 2 + 4)
    state = load_state(RunFolder(tmp_path).checkpoint("last"))
    assert (state.stage, state.step, state.finished) == ("finetune", 4, False)
    config, model = config_of(steps=STEPS, validations=3), make_model(config_of(), seed=9)
    load_parameters(RunFolder(tmp_path).checkpoint("last"), model)
    make_trainer(tmp_path, config, model=model, state=state).train()
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-3)
    assert validations(tmp_path) == pytest.approx(validations(alone), abs=1e-3)


def test_a_run_of_one_process_goes_on_in_parts(tmp_path, alone):
    make_trainer(tmp_path, config_of(steps=STEPS, validations=3), should_stop=Stopper(9)).train()
    train(tmp_path, 2, sharded=True, resume=True)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-3)
    assert load_state(RunFolder(tmp_path).checkpoint("last")).finished


@pytest.mark.parametrize("sharded", [False, True])
def test_adapters_learn_what_they_do_in_one_process(tmp_path, sharded):
    values = {"steps": 8, "validations": 2, "lora_rank": 4, "freeze_embeddings": "on", "gradient_checkpointing": True}
    config = config_of(**values)
    model = make_model(config)
    prepare_model(model, config.train)
    make_trainer(tmp_path / "one", config, model=model).train()
    train(tmp_path / "two", 2, sharded=sharded, **values)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)
    weights = [saved_weights(tmp_path / name, config, "best") for name in ("one", "two")]
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-3, atol=1e-4)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"train.batch_size \(5\) must be divisible by the number of processes \(2\)"):
        make_trainer(tmp_path, config_of(batch_size=5), ranks=Ranks(0, 2))


def test_one_process_needs_no_others():
    ranks = Ranks()
    assert ranks.is_main
    assert ranks.broadcast([1]) == [1]
    assert ranks.any(True, False) == (True, False)
    assert ranks.same("value")
    matrices = torch.ones(3, 2, 2)
    assert torch.equal(ranks.share(lambda some: 2 * some, matrices), 2 * matrices)

    def fail():
        raise RunError("of the main process")

    with pytest.raises(RunError, match="of the main"):
        ranks.from_main(fail)


def test_processes_that_end_wait_for_the_last_tensors():
    # Three times, as without the wait only most of them abort
    for _ in range(3):
        run(2, "leaving.py")

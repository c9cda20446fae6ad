"""How a pre-trained model is trained further: what is chosen, from data, time and memory."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from tinylm.config import Config, ModelConfig, TrainConfig
from tinylm.training import step_budget
from tinylm.training.distributed import Ranks
from tinylm.training.memory import training_bytes
from tinylm.training.pretrained_plan import FurtherTraining, plan_further
from tinylm.training.speed import Speed
from tinylm.training.step_budget import mean_seconds

SMOLLM2 = ModelConfig(
    arch="llama",
    vocab_size=49_152,
    d_model=576,
    nhead=9,
    num_kv_heads=3,
    num_layers=30,
    dim_feedforward=1536,
    context_length=8192,
    rope_base=100_000.0,
)
FAST = {"device": "cpu", "precision": "fp32", "threads": 1}


def machine(gflops: float) -> Speed:
    seconds = 1e-9 / gflops
    return Speed(blocks=((1e6, seconds),), output=(0.0, 6 * seconds), update=((1e6, 100 * seconds),))


def planned(minutes=30.0, *, model=SMOLLM2, own=(), train=None, gflops=150.0, **changes):
    config = Config(model=model, train=TrainConfig(minutes=minutes, **FAST, **(train or {})))
    further = {
        "text_bytes": {"finetune": 4e6},
        "example_bytes": {"finetune": 1000.0},
        "learns_vocabulary": False,
        "speed": machine(gflops),
        "memory": 12e9,
        **changes,
    }
    return plan_further(config, set(own), FurtherTraining(**further))


def test_little_time_is_for_adapters_and_much_for_all_weights():
    short, long = planned(30).config.train, planned(30 * 60, text_bytes={"finetune": 1e9}).config.train
    assert short.lora_rank > 0 == long.lora_rank
    assert short.finetune_learning_rate > long.finetune_learning_rate
    assert {short.optimizer, long.optimizer} == {"adamw"}
    # A day on a thousand times the speed: trained like any other
    assert planned(24 * 60, gflops=1e5, text_bytes={"finetune": 1e10}).chosen == []


def test_little_memory_is_for_adapters_and_for_blocks_computed_twice():
    long = {"minutes": 3000.0, "text_bytes": {"finetune": 1e9}}
    assert planned(**long).config.train.lora_rank == 0
    choice = planned(**long, memory=3e9)
    assert choice.config.train.lora_rank > 0
    assert "3.0 GB is too little" in "\n".join(choice.lines)
    rows = [planned(memory=memory).config.train for memory in (12e9, 4e9, 3e9)]
    assert [train.gradient_checkpointing for train in rows] == [False, False, True]
    assert rows[0].batch_size > rows[1].batch_size == rows[2].batch_size == 1
    # The same steps
    assert len({train.batch_size * train.accumulate for train in rows}) == 1


def test_it_is_expected_to_stay_within_memory():
    for memory in (12e9, 6e9, 4e9, 3e9):
        for minutes in (10, 300, 3000):
            config = planned(minutes, memory=memory, text_bytes={"finetune": 1e9}).config
            assert training_bytes(config.model, config.train) <= memory


def test_small_models_are_trained_like_any_other():
    assert planned(1, model=ModelConfig()).chosen == []


def test_rows_are_as_long_as_the_texts():
    def length(size, **changes):
        return planned(example_bytes={"finetune": size}, **changes).config.model.context_length

    assert [length(size) for size in (100.0, 1000.0, 3000.0, 1e6)] == [512, 512, 2048, 2048]
    assert length(1e6, model=replace(SMOLLM2, context_length=1024)) == 1024
    assert length(100.0, own={"model.context_length"}) == 8192
    (line,) = (line for line in planned().lines if "8,192" in line)
    assert "--set model.context_length=1024" in line


def test_what_the_user_sets_stays():
    own = {"train.finetune_learning_rate", "train.lora_rank", "train.freeze_embeddings", "train.batch_size"}
    train = {"finetune_learning_rate": 0.5, "lora_rank": 3, "freeze_embeddings": "off", "batch_size": 7}
    found = planned(3000, own=own, train=train, text_bytes={"finetune": 1e9}).config.train
    assert {key: getattr(found, key) for key in train} == train
    assert found.batch_size * found.accumulate == pytest.approx(16_384 / 512, rel=0.2)
    whole = planned(1, own={"train.lora_rank"}).config.train
    long = planned(3000, text_bytes={"finetune": 1e9}).config.train
    assert whole.lora_rank == long.lora_rank == 0
    assert whole.finetune_learning_rate == long.finetune_learning_rate


def test_new_rows_of_the_vocabulary_are_learnt():
    assert planned().config.train.freeze_embeddings == "on"
    choice = planned(learns_vocabulary=True)
    assert choice.config.train.freeze_embeddings == "off"
    assert "embeddings are trained" in "\n".join(choice.lines)


def test_steps_are_a_budget_too():
    train = {"steps": 20, "batch_size": 8, "accumulate": 2}
    choice = planned(train=train, speed=None)
    assert choice.config.train.lora_rank > 0
    assert choice.config.train.batch_size * choice.config.train.accumulate == 16
    assert choice.config.train.finetune_learning_rate < 4e-3
    assert "20 steps" in choice.lines[0]
    assert choice.config.data == Config().data
    assert planned(train=train | {"steps": 200_000}, speed=None, own=()).chosen == []


def test_little_text_is_not_seen_without_end():
    assert planned(text_bytes={"finetune": 4e4}).config.train.max_epochs <= 5
    text = "\n".join(planned(text_bytes={"finetune": 4e4}).lines)
    assert "4 times the text" in text


def test_validations_take_a_small_part_of_the_time():
    sizes = [planned(minutes).config.data.validation_tokens for minutes in (2, 60, 600)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 2048
    assert sizes[-1] == Config().data.validation_tokens


def test_it_says_what_and_why():
    text = "\n".join(planned().lines)
    for part in ("30 minutes", "134 million", "LoRA", "too short", "learning rate", "stay as they are", "GB of memory"):
        assert part in text
    assert "full fine-tuning" in "\n".join(planned(3000, text_bytes={"finetune": 1e9}).lines)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_rows(processes):
    train = planned(300, processes=processes, text_bytes={"finetune": 1e9}).config.train
    assert train.batch_size % processes == 0


@pytest.mark.parametrize(("seconds", "taken"), [(0.5, 2), (2.5, 4), (20.0, 21)])
def test_a_step_that_is_long_for_its_budget_is_measured_once(monkeypatch, seconds, taken):
    steps = []
    monkeypatch.setattr(step_budget, "time", SimpleNamespace(monotonic=lambda: float(len(steps))))
    assert mean_seconds(lambda: steps.append(None), seconds, 1, Ranks()) == 1.0
    assert len(steps) == taken

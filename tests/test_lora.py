"""Low-rank adapters: what they compute, what is trained, and what becomes of them in checkpoints."""

import numpy as np
import pytest
import torch
from counting import (
    CONTEXT,
    PIECES,
    Listener,
    Stopper,
    assert_equal,
    config_of,
    make_model,
    make_trainer,
    saved_weights,
    weights,
)
from rows import ArrayRows, batches_of_rows
from safetensors.torch import load_file

from tinylm.errors import ConfigError
from tinylm.run_folder import RunFolder, load_state
from tinylm.training.checkpoint import load_parameters, load_weights
from tinylm.training.lora import ALPHA, add_adapters, is_adapter, merged
from tinylm.training.loss import linear_cross_entropy
from tinylm.training.mfu import training_flops
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer
from tinylm.training.stage import Stage
from tinylm.training.trained_weights import count_parameters, prepare_model

ARCHITECTURES = ["classic", "modern", "llama"]
RANK = 4


def adapted(config, seed=0):
    """A model with adapters that do something."""
    model = make_model(config, seed)
    prepare_model(model, config.train)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.1)
    return model


@pytest.fixture(params=ARCHITECTURES)
def config(request):
    kv = {} if request.param == "classic" else {"num_kv_heads": 1}
    return config_of({"arch": request.param, "num_layers": 2, **kv}, lora_rank=RANK, freeze_embeddings="on")


def test_new_adapters_change_nothing(config):
    ids = torch.arange(10, 26)[None]
    model = make_model(config)
    before = model(ids)
    add_adapters(model, RANK)
    assert torch.equal(model(ids), before)


def test_merged_weights_give_the_logits_of_the_adapted_model(config):
    ids = torch.arange(10, 26)[None]
    model, plain = adapted(config), make_model(config, seed=7)
    tensors = merged(weights(model))
    assert tensors.keys() == weights(plain).keys()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(tensors[name])
    torch.testing.assert_close(plain(ids), model(ids), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(make_model(config)(ids), model(ids), atol=1e-2)


def test_the_scale_is_alpha_over_the_rank():
    tensors = {
        "up.weight": torch.zeros(3, 5),
        "up.adapter_down": torch.ones(2, 5),
        "up.adapter_up": torch.ones(3, 2),
    }
    assert merged(tensors)["up.weight"].eq(ALPHA / 2 * 2).all()


def test_what_has_no_counterpart_stays(config):
    tensors = weights(adapted(config))
    lonely = {name: tensor for name, tensor in tensors.items() if "adapter_up" not in name}
    assert merged(lonely).keys() == lonely.keys()
    wrong = {name: tensor[:, :-1] if "adapter_down" in name else tensor for name, tensor in tensors.items()}
    assert merged(wrong).keys() == tensors.keys()


def test_only_adapters_change(tmp_path, config):
    model = adapted(config)
    before = weights(model)
    assert make_trainer(tmp_path, config, model=model).train().finished
    after = weights(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if is_adapter(name)}
    assert len(changed) == 2 * 4 * 2
    assert_equal(saved_weights(tmp_path, config), merged(after))
    assert saved_weights(tmp_path, config, "best").keys() == weights(make_model(config)).keys()


def test_the_vocabulary_is_trained_unless_it_is_frozen(tmp_path, config):
    config = config_of(
        {"arch": config.model.arch, "tie_embeddings": False}, lora_rank=RANK, freeze_embeddings="off", weight_decay=0
    )
    model = adapted(config)
    before = weights(model)
    make_trainer(tmp_path, config, model=model).train()
    changed = {name for name, tensor in weights(model).items() if not torch.equal(before[name], tensor)}
    assert changed == {name for name in before if is_adapter(name)} | {"embedding.weight", "output.weight"}


def test_frozen_embeddings_without_adapters(tmp_path):
    for tied in (True, False):
        config = config_of({"arch": "modern", "tie_embeddings": tied}, freeze_embeddings="on")
        model = make_model(config)
        prepare_model(model, config.train)
        before = weights(model)
        make_trainer(tmp_path / str(tied), config, model=model).train()
        same = {name for name, tensor in weights(model).items() if torch.equal(before[name], tensor)}
        assert same == {"embedding.weight"} | (set() if tied else {"output.weight"})


def test_only_what_is_trained_has_an_optimizer_state(config):
    model = adapted(config)
    optimizer = Optimizer(model, config.train)
    model(torch.arange(10, 26)[None]).sum().backward()
    optimizer.step(1e-3)
    assert {name.rpartition("/")[0] for name in optimizer.state()} == {
        name for name, _ in model.named_parameters() if is_adapter(name)
    }
    parameters, trained = count_parameters(model)
    assert parameters == count_parameters(make_model(config))[0]
    assert trained == sum(p.numel() for name, p in model.named_parameters() if is_adapter(name))


def test_a_resumed_run_ends_in_the_same_bits(tmp_path, config):
    straight = make_trainer(tmp_path / "straight", config, model=adapted(config))
    assert straight.train().finished
    path, stopper = tmp_path / "stopped", Stopper(1, 3, 6)
    trainer = make_trainer(path, config, model=adapted(config), should_stop=stopper)
    for _ in range(3):
        assert not trainer.train().finished
        last = RunFolder(path).checkpoint("last")
        # Apart, as the sum does not tell what was added
        assert any(map(is_adapter, load_file(last / "model.safetensors")))
        model = adapted(config, seed=1234)
        load_parameters(last, model)
        assert_equal(weights(model), weights(trainer.model))
        trainer = make_trainer(path, config, model=model, state=load_state(last), should_stop=stopper)
    assert trainer.train().finished
    assert_equal(weights(trainer.model), weights(straight.model))
    for name in ("last", "best"):
        assert_equal(saved_weights(path, config, name), saved_weights(tmp_path / "straight", config, name))


def test_an_unfinished_checkpoint_is_read_as_plain_weights(tmp_path, config):
    trainer = make_trainer(tmp_path, config, model=adapted(config), should_stop=Stopper(2))
    assert not trainer.train().finished
    model = make_model(config, seed=5)
    load_weights(RunFolder(tmp_path).checkpoint("last"), model, PIECES, PIECES)
    assert_equal(weights(model), merged(weights(trainer.model)))


def test_the_loss_falls_by_adapters_alone(tmp_path):
    config = config_of({"arch": "llama", "tie_embeddings": False}, steps=60, validations=1, learning_rate=0.02)
    base = make_model(config)
    make_trainer(tmp_path / "base", config, names=("pretrain",), model=base).train()
    config = config_of({"arch": "llama", "tie_embeddings": False}, steps=60, lora_rank=RANK, freeze_embeddings="on")
    ids = (50 - np.arange(12)[:, None] - np.arange(CONTEXT + 1)).astype(np.uint16)
    downwards = batches_of_rows(ArrayRows(ids, np.ones(ids.shape, bool)), 0)
    prepare_model(base, config.train)
    listener = Listener()
    stages = [Stage("finetune", downwards, [], 0.02)]
    make_trainer(tmp_path / "lora", config, model=base, stages=stages, callbacks=listener).train()
    assert listener.steps[-1].loss < 0.5 * listener.steps[0].loss


def test_a_rank_above_the_narrowest_matrix_is_refused():
    model = LanguageModel(config_of().model)
    with pytest.raises(ConfigError, match=r"train\.lora_rank: 33 is more than .* \(32\)"):
        add_adapters(model, 33)
    add_adapters(model, 32)


def test_frozen_weights_ask_for_no_gradient(config):
    model = make_model(config)
    whole = training_flops(model, 100, 100)
    prepare_model(model, config.train)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    adapters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert training_flops(model, 100, 100) == pytest.approx(whole - 100 * 2 * frozen + 100 * 6 * adapters)
    states, targets = torch.randn(6, 32, requires_grad=True), torch.arange(6)
    matrix = model.output.weight.detach()
    linear_cross_entropy(states, matrix, targets).backward()
    gradient, states.grad = states.grad.clone(), None
    trained = matrix.clone().requires_grad_()
    linear_cross_entropy(states, trained, targets).backward()
    assert torch.equal(states.grad, gradient)
    assert trained.grad.any()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("rank", [0, RANK])
def test_blocks_that_are_computed_twice_give_the_same_gradients(config, rank, precision):
    found = []
    for recomputes in (False, True):
        settings = config_of(lora_rank=rank, gradient_checkpointing=recomputes).train
        torch.manual_seed(3)
        model = LanguageModel(config_of({"arch": config.model.arch, "dropout": 0.3, "num_layers": 2}).model)
        prepare_model(model, settings)
        torch.manual_seed(11)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(torch.arange(10, 26)[None]).float().square().mean()
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    assert found[0][0] == found[1][0]
    assert_equal(found[0][1], found[1][1])
    assert len(found[0][1]) > 4


def test_less_is_kept_of_blocks_that_are_computed_twice():
    kept = []
    for recomputes in (False, True):
        model = LanguageModel(config_of({"arch": "llama", "num_layers": 8}).model)
        model.recomputes_blocks = recomputes
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.arange(10, 26)[None])
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4

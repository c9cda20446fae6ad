"""The model against its papers' formulas. tests/test_llama.py compares llama with transformers."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from tinylm.config import ModelConfig, TrainConfig
from tinylm.errors import ContextFullError
from tinylm.training.model import Attention, LanguageModel, causal_attention, rotate, sinusoid_parameters
from tinylm.training.optimizer import Optimizer
from tinylm.training.torch_decoder import TorchDecoder

SHAPE = {"vocab_size": 300, "d_model": 64, "nhead": 4, "num_layers": 2, "dim_feedforward": 48, "context_length": 24}
VARIANTS = {
    "classic": {},
    "classic untied": {"tie_embeddings": False},
    "modern": {"arch": "modern"},
    "modern untied": {"arch": "modern", "tie_embeddings": False},
    "modern grouped": {"arch": "modern", "num_kv_heads": 2},
    "modern one kv head": {"arch": "modern", "num_kv_heads": 1},
    "modern without shift": {"arch": "modern", "token_shift": False},
    "llama grouped": {"arch": "llama", "num_kv_heads": 2},
    "qwen2": {"arch": "llama", "qkv_bias": True, "tie_embeddings": False},
    "qwen3": {"arch": "llama", "qk_norm": True, "head_size": 32, "num_kv_heads": 1},
}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    model = LanguageModel(ModelConfig(**{**SHAPE, **changes}))
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            if parameter.ndim == 2 and not parameter.any():
                parameter.normal_(std=0.1)  # a llama's blocks begin without an output
    return model


def some_ids(batch=2, length=24, seed=1):
    return torch.randint(0, SHAPE["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=VARIANTS, ids=lambda name: name.replace(" ", "-"))
def model(request):
    return make(**VARIANTS[request.param]).eval()


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 7), (2, 24)])
def test_shape(model, batch, length):
    logits = model(some_ids(batch, length))
    assert logits.shape == (batch, length, 300)
    assert torch.isfinite(logits).all()


def test_a_token_changes_nothing_before_it(model):
    ids = some_ids()
    before = model(ids)
    for position in (0, 5, 23):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 300
        after = model(changed)
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=1e-5)
        for later in range(position, 24):
            assert (after[:, later] - before[:, later]).abs().max() > 1e-4, f"{position} does not reach {later}"


def test_rows_do_not_see_each_other_and_the_length_does_not_matter(model):
    ids = some_ids(3)
    together = model(ids)
    torch.testing.assert_close(model(ids[1:2])[0], together[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(model(ids[:, :9]), together[:, :9], rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_document_of_a_row_is_computed_as_if_it_stood_alone(model, precision):
    ids = some_ids(2)
    lengths = ((9, 1, 14), (24,))
    segments = torch.stack([torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in lengths])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        packed = model.hidden(ids, segments)
        for row, parts in enumerate(lengths):
            alone = [model.hidden(part[None])[0] for part in ids[row].split(parts)]
            tolerance = 1e-5 if precision == "fp32" else 0.06
            torch.testing.assert_close(packed[row], torch.cat(alone), rtol=tolerance, atol=tolerance)
        assert (packed[0] - model.hidden(ids)[0]).abs().max() > 0.1


def test_the_order_of_tokens_matters(model):
    ids = torch.tensor([[1, 2, 3, 4, 9]])
    swapped = torch.tensor([[2, 1, 3, 4, 9]])
    assert (model(ids)[0, -1] - model(swapped)[0, -1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", VARIANTS)
def test_number_of_parameters(name):
    config = ModelConfig(**{**SHAPE, **VARIANTS[name]})
    d, f, v, layers = config.d_model, config.dim_feedforward, config.vocab_size, config.num_layers
    if config.arch == "classic":
        block = 3 * d * d + 3 * d + d * d + d + 2 * d * f + f + d + 4 * d
        last = 2 * d
    else:
        head = config.head_size or d // config.nhead
        projected = (config.nhead + 2 * config.kv_heads) * head
        block = d * projected + config.nhead * head * d + (2 if config.arch == "modern" else 3) * d * f + 2 * d
        block += 2 * head * (config.arch == "modern" or config.qk_norm) + projected * config.qkv_bias
        last = d + config.shifts_tokens * d
    expected = v * d * (1 if config.tie_embeddings else 2) + layers * block + last
    model = LanguageModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert ("output.weight" in dict(model.named_parameters())) is not config.tie_embeddings
    assert (model.output.weight is model.embedding.weight) is config.tie_embeddings


@pytest.mark.parametrize("width", [16, 48, 256])
def test_positions_are_the_sinusoids_of_the_paper(width):
    model = make(d_model=width, nhead=2, context_length=1024)
    frequency, phase = sinusoid_parameters(width)
    worst = 0.0
    for position in range(0, 1024, 31):
        for channel in range(width):
            angle = position / 10_000 ** (2 * (channel // 2) / width)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            worst = max(worst, abs(model.sinusoids[position, channel].item() - expected))
            by_parameters = math.sin(position * frequency[channel].item() + phase[channel].item())
            worst = max(worst, abs(by_parameters - expected))
    assert worst < 1e-3


def test_positions_are_added_to_the_scaled_embedding():
    model = make(num_layers=1).eval()
    with torch.no_grad():
        for name in ("attention.output", "feedforward.down"):
            layer = model.blocks[0].get_submodule(name)
            layer.weight.zero_()
            layer.bias.zero_()
    ids = some_ids(1)
    stream = model.embedding(ids) * math.sqrt(64) + model.sinusoids
    torch.testing.assert_close(model.hidden(ids), F.layer_norm(stream, (64,), eps=1e-5))


def test_rotation_depends_on_the_distance_alone():
    model = make(arch="modern", context_length=24)
    cosines, sines = model.cosines, model.sines
    query, key = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0))

    def product(query_position, key_position):
        turned = [
            rotate(x, cosines[position : position + 1], sines[position : position + 1])
            for x, position in ((query, query_position), (key, key_position))
        ]
        return (turned[0] * turned[1]).sum().item()

    for distance in (0, 1, 7):
        values = [product(start + distance, start) for start in (0, 3, 16)]
        assert max(values) - min(values) < 1e-5
    assert abs(product(0, 0) - (query * key).sum().item()) < 1e-6
    assert abs(product(7, 0) - product(1, 0)) > 1e-3
    assert abs(product(7, 0) - product(0, 7)) > 1e-3


def test_rotation_is_that_of_the_paper():
    model = make(arch="modern")
    x = torch.randn(1, 1, 24, 16, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, model.cosines, model.sines)
    for position in (0, 1, 23):
        for pair in range(8):
            angle = position * 10_000 ** (-2 * pair / 16)
            before = complex(x[0, 0, position, pair].item(), x[0, 0, position, pair + 8].item())
            after = before * complex(math.cos(angle), math.sin(angle))
            assert abs(turned[0, 0, position, pair].item() - after.real) < 1e-5
            assert abs(turned[0, 0, position, pair + 8].item() - after.imag) < 1e-5


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_heads_equal_repeated_ones(kv_heads):
    config = ModelConfig(**{**SHAPE, "arch": "modern", "num_kv_heads": kv_heads})
    torch.manual_seed(3)
    attention = Attention(config)
    with torch.no_grad():
        attention.query_norm.weight.uniform_(0.5, 1.5)
        attention.key_norm.weight.uniform_(0.5, 1.5)
    positions = LanguageModel(config)
    x = torch.randn(2, 24, 64)
    query, key, value = attention.qkv(x).split([64, kv_heads * 16, kv_heads * 16], dim=-1)
    heads = []
    for head in range(4):
        shared = head // (4 // kv_heads)
        q, k, v = (
            query[..., head * 16 :][..., :16],
            key[..., shared * 16 :][..., :16],
            value[..., shared * 16 :][..., :16],
        )
        q = q / (q.square().mean(-1, keepdim=True) + 1e-5).sqrt() * attention.query_norm.weight
        k = k / (k.square().mean(-1, keepdim=True) + 1e-5).sqrt() * attention.key_norm.weight
        q, k = (rotate(part[:, None], positions.cosines, positions.sines)[:, 0] for part in (q, k))
        scores = (q @ k.transpose(1, 2) / math.sqrt(16)).masked_fill(torch.ones(24, 24).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ v)
    expected = attention.output(torch.cat(heads, dim=-1))
    found = attention(x, (positions.cosines, positions.sines))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("length", [5, 100, 520])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_attention_is_the_same_at_any_length_and_precision(kv_heads, length, kind, tolerance):
    torch.manual_seed(0)
    rounded = [torch.randn(2, heads, length, 8).to(kind) for heads in (4, kv_heads, kv_heads)]
    query, key, value = (part.float() for part in rounded)
    keys, values = (part.repeat_interleave(4 // kv_heads, dim=1) for part in (key, value))
    hidden = torch.ones(length, length).triu(1).bool()
    weights = (query @ keys.transpose(2, 3) / math.sqrt(8)).masked_fill(hidden, -math.inf).softmax(-1)
    found = causal_attention(*rounded, 0.0)
    assert found.dtype == kind
    torch.testing.assert_close(found.float(), weights @ values, rtol=tolerance, atol=tolerance)
    assert (causal_attention(*rounded, 0.5).float() - weights @ values).abs().max() > 0.1
    ones = torch.ones_like(rounded[2])
    mean = torch.stack([causal_attention(*rounded[:2], ones, 0.5).float() for _ in range(20)]).mean()
    assert mean.item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("arch", ["classic", "modern", "llama"])
def test_dropout_is_for_training_alone(arch):
    model = make(arch=arch, dropout=0.3)
    ids = some_ids()
    model.eval()
    torch.testing.assert_close(model(ids), model(ids), rtol=0, atol=0)
    torch.testing.assert_close(model(ids), make(arch=arch).eval()(ids), rtol=0, atol=0)
    model.train()
    assert (model(ids) - model(ids)).abs().max() > 1e-3
    undropped = make(arch=arch).train()
    torch.testing.assert_close(undropped(ids), undropped(ids), rtol=0, atol=0)


def test_gradients_reach_every_parameter(model):
    F.cross_entropy(model(some_ids()).flatten(0, 1), some_ids(seed=2).flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # The bias of a key moves every score of a query alike, so that a softmax does not see it
        grad = parameter.grad[:64] if name.endswith("qkv.bias") else parameter.grad
        assert grad.abs().max() > 0, name


def test_a_fresh_model_knows_nothing(model):
    loss = F.cross_entropy(model(some_ids(8)).flatten(0, 1), some_ids(8, seed=5).flatten()).item()
    assert math.log(300) - 0.2 < loss < math.log(300) + 1.5


def test_a_fresh_llama_passes_its_embedding_on():
    model = LanguageModel(ModelConfig(**SHAPE, arch="llama"))
    ids = some_ids()
    torch.testing.assert_close(model.hidden(ids), F.rms_norm(model.embedding(ids), (64,), eps=1e-5))


def test_the_seed_decides_the_weights():
    first, second, other = make(1), make(1), make(2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


def test_the_decoder_of_a_run(model):
    ids = some_ids(1)[0].tolist()
    expected = model(torch.tensor([ids]))[0].detach()
    decoder = TorchDecoder(model)
    assert (decoder.context_length, decoder.vocab_size, decoder.length) == (24, 300, 0)
    torch.testing.assert_close(torch.from_numpy(decoder.append(ids[:5])), expected[4], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        torch.from_numpy(decoder.append([7])), model(torch.tensor([[*ids[:5], 7]]))[0, -1].detach()
    )
    decoder.truncate(5)
    torch.testing.assert_close(torch.from_numpy(decoder.append(ids[5:])), expected[23], rtol=0, atol=1e-5)
    assert decoder.length == 24
    with pytest.raises(ContextFullError, match="25 tokens do not fit into the context of 24"):
        decoder.append([1])
    assert decoder.length == 24


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_optimizer_moves_every_parameter_once(kind, name):
    model = make(**VARIANTS[name])
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = Optimizer(model, TrainConfig(optimizer=kind, weight_decay=0.0))
    F.cross_entropy(model(some_ids()).flatten(0, 1), some_ids(seed=2).flatten()).backward()
    optimizer.step(0.01)
    for key, parameter in model.named_parameters():
        moved = (parameter.detach() - before[key]).abs().max().item()
        assert 0 < moved < 0.2, key
        assert parameter.grad is None, key
        names = {entry.rpartition("/")[2] for entry in optimizer.state() if entry.startswith(f"{key}/")}
        is_muon = kind == "muon" and key.startswith("blocks.") and parameter.ndim == 2
        assert names == ({"momentum_buffer"} if is_muon else {"step", "exp_avg", "exp_avg_sq"})


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_weight_decay_is_for_matrices(kind):
    model = make(tie_embeddings=False)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Optimizer(model, TrainConfig(optimizer=kind, weight_decay=0.5)).step(0.1)
    for key, parameter in model.named_parameters():
        expected = before[key] * 0.95 if parameter.ndim == 2 else before[key]
        torch.testing.assert_close(parameter.detach(), expected)


def test_a_step_of_no_learning_rate_changes_nothing():
    model = make()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(some_ids()).square().mean().backward()
    Optimizer(model, TrainConfig()).step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))

"""Dropout on CPUs: which elements, how many, and the gradient."""

import pytest
import torch

from tinylm.training.dropout import Dropout, drop


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_as_many_elements_as_asked_are_dropped_and_the_mean_stays(dtype, probability):
    torch.manual_seed(0)
    dropped = drop(torch.ones(1000, 301, dtype=dtype), probability)
    assert dropped.dtype == dtype
    zeros = (dropped == 0).float()
    # Five standard errors
    tolerance = 5 * (probability * (1 - probability) / zeros.numel()) ** 0.5
    assert zeros.mean().item() == pytest.approx(probability, abs=tolerance)
    kept = dropped[dropped != 0].unique()
    assert kept.tolist() == pytest.approx([1 / (1 - probability)], rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    # Neighbours are dropped independently of each other, also those that share a random number
    for lag in range(1, 9):
        both = (zeros[:, lag:] * zeros[:, :-lag]).mean().item()
        assert both == pytest.approx(probability**2, abs=4 * tolerance)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5)])
def test_any_shape(shape):
    assert drop(torch.ones(shape), 0.5).shape == shape


def test_the_gradient_is_dropped_alike():
    x = torch.randn(50, 7, requires_grad=True)
    dropped = drop(x, 0.3)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), dropped.detach())


def test_the_seed_decides_and_evaluation_drops_nothing():
    module, x = Dropout(0.5), torch.ones(64)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(module(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(module.eval()(x), x)
    assert drop(x, 0.0) is x


def test_a_probability_next_to_one_keeps_almost_nothing_and_stays_finite():
    assert torch.isfinite(drop(torch.ones(10_000), 1 - 1e-9)).all()

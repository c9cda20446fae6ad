"""The output layer and its loss in one give what they give one after the other."""

import pytest
import torch
from torch.nn import functional

from tinylm.training import loss
from tinylm.training.loss import linear_cross_entropy


def example(count=37, width=16, vocabulary=23, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(count, width, generator=generator) * scale
    weight = torch.randn(vocabulary, width, generator=generator)
    targets = torch.randint(vocabulary, (count,), generator=generator)
    return states.requires_grad_(), weight.requires_grad_(), targets


def plainly(states, weight, targets):
    return functional.cross_entropy(functional.linear(states, weight).float(), targets, reduction="sum")


def results(function, states, weight, targets, precision=None):
    with torch.autocast("cpu", precision, enabled=precision is not None):
        loss = function(states, weight, targets)
    gradients = torch.autograd.grad(loss / 7, (states, weight))
    return loss.detach(), *gradients


@pytest.mark.parametrize("logits", [1, 100, 1 << 20])
@pytest.mark.parametrize("scale", [1.0, 100.0])  # at 100, the likelihood of most targets is no fp32 number above 0
def test_loss_and_gradients(monkeypatch, logits, scale):
    monkeypatch.setattr(loss, "_LOGITS", logits)
    given = example(scale=scale)
    for mine, wanted in zip(results(linear_cross_entropy, *given), results(plainly, *given), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-3)


def test_in_bf16():
    given = example()
    exact = results(plainly, *given)
    for mine, wanted in zip(results(linear_cross_entropy, *given, torch.bfloat16), exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - wanted).norm() < 0.02 * wanted.norm()


def test_without_gradients_and_without_targets():
    states, weight, targets = example()
    with torch.no_grad():
        loss = linear_cross_entropy(states, weight, targets)
        torch.testing.assert_close(loss, plainly(states, weight, targets))
        assert linear_cross_entropy(states[:0], weight, targets[:0]) == 0
    none = linear_cross_entropy(states[:0], weight, targets[:0])
    assert none == 0
    none.backward()
    assert weight.grad.count_nonzero() == 0


def test_what_is_no_number_is_seen():
    states, weight, targets = example()
    with torch.no_grad():
        states[3, 2] = torch.nan
    assert linear_cross_entropy(states, weight, targets).isnan()

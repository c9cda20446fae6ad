"""Muon on many matrices at once is PyTorch's Muon."""

import pytest
import torch

from tinylm.muon import BatchedMuon, orthogonalize

SHAPES = [(24, 8), (8, 8), (8, 24), (24, 8), (8, 24), (8, 24)]
OPTIONS = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_many_matrices_at_once_move_as_one_by_one():
    ours, theirs = matrices(), matrices()
    optimizers = BatchedMuon(ours, **OPTIONS), torch.optim.Muon(theirs, **OPTIONS)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, begun in zip(ours, theirs, matrices(), strict=True):
        moved = (other - begun).norm()
        # The iteration is in bf16, and sums differ in their order
        assert (mine - other).norm() < 0.02 * moved
        momenta = [o.state[p]["momentum_buffer"] for o, p in zip(optimizers, (mine, other), strict=True)]
        torch.testing.assert_close(*momenta)
        assert [set(o.state[p]) for o, p in zip(optimizers, (mine, other), strict=True)] == [{"momentum_buffer"}] * 2


def test_a_matrix_without_a_gradient_stays():
    parameters = matrices()
    for parameter in parameters[1:]:
        parameter.grad = torch.ones_like(parameter)
    before = parameters[0].detach().clone()
    BatchedMuon(parameters, **OPTIONS).step()
    assert torch.equal(parameters[0], before)
    assert not torch.equal(parameters[3], matrices()[3])


@pytest.mark.parametrize("shape", [(3, 8, 24), (3, 24, 8), (3, 8, 8)])
def test_singular_values_become_nearly_one(shape):
    generator = torch.Generator().manual_seed(2)
    result = orthogonalize(torch.randn(shape, generator=generator), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    assert result.shape == shape
    assert result.dtype == torch.bfloat16
    values = torch.linalg.svdvals(result.float())
    # The coefficients are made for speed: they leave singular values between 0.5 and 1.5 (but for the tiniest)
    assert values.max() < 1.5
    assert values.median() > 0.5

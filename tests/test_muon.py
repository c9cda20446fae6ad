"""Muon on many matrices at once is PyTorch's Muon."""

import pytest
import torch

from tinylm.muon import BatchedMuon, orthogonalize

SHAPES = [(24, 8), (8, 8), (8, 24), (24, 8), (8, 24), (8, 24)]
DECAY = 0.1


def muon(parameters, dtype=torch.bfloat16):
    optimizer = BatchedMuon(parameters, weight_decay=DECAY, dtype=dtype)
    optimizer.param_groups[0]["lr"] = 0.02
    return optimizer


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_many_matrices_at_once_move_as_one_by_one(dtype):
    ours, theirs = matrices(), matrices()
    optimizers = (
        muon(ours, dtype),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, begun in zip(ours, theirs, matrices(), strict=True):
        moved = (other - begun).norm()
        # PyTorch's iteration is in bf16, and sums differ in their order
        assert (mine - other).norm() < 0.02 * moved
        momenta = [o.state[p]["momentum_buffer"] for o, p in zip(optimizers, (mine, other), strict=True)]
        torch.testing.assert_close(*momenta)
        assert [set(o.state[p]) for o, p in zip(optimizers, (mine, other), strict=True)] == [{"momentum_buffer"}] * 2


def test_a_matrix_without_a_gradient_stays():
    parameters = matrices()
    for parameter in parameters[1:]:
        parameter.grad = torch.ones_like(parameter)
    before = parameters[0].detach().clone()
    muon(parameters).step()
    assert torch.equal(parameters[0], before)
    assert not torch.equal(parameters[3], matrices()[3])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(3, 8, 24), (3, 24, 8), (3, 8, 8)])
def test_singular_values_become_nearly_one(shape, dtype):
    generator = torch.Generator().manual_seed(2)
    result = orthogonalize(torch.randn(shape, generator=generator).to(dtype), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    assert result.shape == shape
    assert result.dtype == dtype
    values = torch.linalg.svdvals(result.float())
    # The coefficients are made for speed: they leave singular values between 0.5 and 1.5 (but for the tiniest)
    assert values.max() < 1.5
    assert values.median() > 0.5


@pytest.mark.parametrize("shape", [(2, 12, 40), (2, 40, 12), (2, 12, 12)])
def test_in_fp32_the_short_way_gives_what_the_iteration_gives_in_fp64(shape):
    a, b, c = coefficients = (3.4445, -4.7750, 2.0315)
    generator = torch.Generator().manual_seed(3)
    given = torch.randn(shape, generator=generator) * torch.logspace(0, -5, shape[2])  # nearly singular
    x = given.double() / given.double().norm(dim=(1, 2), keepdim=True)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    torch.testing.assert_close(orthogonalize(given, coefficients, 5, 1e-7).double(), x, rtol=0, atol=1e-3)

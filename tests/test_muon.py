"""Muon on many matrices at once: PyTorch's Muon with other polynomials."""

import pytest
import torch

from tinylm.training.muon import _MARGIN, _POLYNOMIALS, BatchedMuon, orthogonalize

SHAPES = [(24, 8), (8, 8), (8, 24), (24, 8), (8, 24), (8, 24)]
DECAY, RATE, MOMENTUM = 0.1, 0.02, 0.95


def muon(parameters, dtype=torch.bfloat16):
    optimizer = BatchedMuon(parameters, weight_decay=DECAY, dtype=dtype)
    optimizer.param_groups[0]["lr"] = RATE
    return optimizer


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def polynomials(values):
    for a, b, c in _POLYNOMIALS:
        values = a * values + b * values**3 + c * values**5
    return values


def by_singular_values(matrix):
    """What `orthogonalize` is to give, the long way."""
    u, values, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u @ torch.diag_embed(polynomials(values / (_MARGIN * values.norm(dim=-1, keepdim=True)))) @ v


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.04), (torch.float32, 1e-4)])
def test_many_matrices_at_once_move_as_one_by_one(dtype, tolerance):
    ours, expected, theirs = matrices(), [m.detach().double() for m in matrices()], matrices()
    optimizer = muon(ours, dtype)
    torchs = torch.optim.Muon(theirs, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    momenta = [torch.zeros_like(matrix) for matrix in expected]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
            gradient = mine.grad.double()
            momenta[i] = MOMENTUM * momenta[i] + (1 - MOMENTUM) * gradient
            update = by_singular_values((1 - MOMENTUM) * gradient + MOMENTUM * momenta[i])
            scale = 0.2 * max(mine.shape) ** 0.5
            expected[i] = expected[i] * (1 - RATE * DECAY) - RATE * scale * update
        optimizer.step()
        torchs.step()
    for mine, wanted, other, begun in zip(ours, expected, theirs, matrices(), strict=True):
        moved = (wanted - begun).norm()
        assert (mine - wanted).norm() < tolerance * moved
        # PyTorch's polynomial leaves singular values further from 1, at most by a third
        assert torch.cosine_similarity((mine - begun).flatten(), (other - begun).flatten(), dim=0) > 0.97
        torch.testing.assert_close(optimizer.state[mine], torchs.state[other])


def test_a_matrix_without_a_gradient_stays():
    parameters = matrices()
    for parameter in parameters[1:]:
        parameter.grad = torch.ones_like(parameter)
    before = parameters[0].detach().clone()
    muon(parameters).step()
    assert torch.equal(parameters[0], before)
    assert not torch.equal(parameters[3], matrices()[3])


def test_the_polynomials_bring_singular_values_to_nearly_one():
    values = polynomials(torch.logspace(-2.52, 0, 10_000, dtype=torch.float64))
    assert values.min() > 0.75
    assert values.max() < 1.25


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(2, 256, 256), (2, 64, 256), (2, 24, 8)])
def test_rounding_never_makes_a_matrix_grow_without_end(shape, dtype):
    """Of few directions, whose singular values are the largest that there are."""
    count, rows, columns = shape
    generator = torch.Generator().manual_seed(4)
    for _ in range(8):
        left, right = (torch.randn(count, size, 2, generator=generator) for size in (rows, columns))
        constant = torch.full(shape, float(torch.rand(1, generator=generator)) + 0.1)
        for given in (left[..., :1] @ right[..., :1].mT, left @ right.mT, constant, constant * left[..., :1].sign()):
            assert torch.linalg.svdvals(orthogonalize(given.to(dtype)).float()).max() < 1.3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(3, 8, 24), (3, 24, 8), (3, 8, 8)])
def test_singular_values_become_nearly_one(shape, dtype):
    generator = torch.Generator().manual_seed(2)
    result = orthogonalize(torch.randn(shape, generator=generator).to(dtype))
    assert result.shape == shape
    assert result.dtype == dtype
    values = torch.linalg.svdvals(result.float())
    assert values.max() < 1.3
    assert values.median() > 0.75


@pytest.mark.parametrize("shape", [(2, 12, 40), (2, 40, 12), (2, 12, 12)])
def test_in_fp32_the_short_way_gives_what_singular_values_give_in_fp64(shape):
    generator = torch.Generator().manual_seed(3)
    given = torch.randn(shape, generator=generator) * torch.logspace(0, -5, shape[2])  # nearly singular
    torch.testing.assert_close(orthogonalize(given).double(), by_singular_values(given), rtol=0, atol=2e-3)
    assert orthogonalize(torch.zeros(shape)).norm() == 0

"""Muon: what it does to a matrix, against its singular value decomposition and AdamW."""

from __future__ import annotations

import pytest
import torch

from metric_depth_ros.training import muon
from metric_depth_ros.training.muon import Muon, orthogonal


@pytest.mark.parametrize('shape', [(16, 40), (40, 16), (24, 24)])
def test_orthogonal_keeps_directions_and_evens_sizes(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    core = left.T @ orthogonal(matrix) @ right.T  # diagonal if the directions are kept
    diagonal = core.diagonal()
    assert (diagonal > 0.5).all()
    assert (diagonal < 1.3).all()
    assert (core - torch.diag(diagonal)).abs().max() < 0.05


def test_what_a_cpu_would_emulate_is_computed_in_float32(monkeypatch):
    matrix = torch.randn((16, 40), generator=torch.Generator().manual_seed(1))
    results = []
    for multiplies in (True, False):
        monkeypatch.setattr(muon, 'multiplies_bf16', lambda _, multiplies=multiplies: multiplies)
        results.append(orthogonal(matrix))
    assert not torch.equal(*results)
    torch.testing.assert_close(*results, rtol=0, atol=0.02)


def test_a_matrix_step_is_the_orthogonal_gradient():
    weight = torch.nn.Parameter(torch.zeros(8, 2, 3, 3))
    weight.grad = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(2))
    Muon([{'params': [weight], 'matrix': True}], lr=0.1).step()
    # The first momentum is the gradient, and only its direction counts.
    expected = -0.1 * orthogonal(weight.grad.flatten(1)).view_as(weight)
    distance = (weight.data - expected).norm() / expected.norm()
    assert distance < 0.06  # bfloat16's, of a sum that rounds in another way


def test_the_others_step_as_adamw_does():
    start = torch.randn(5, generator=torch.Generator().manual_seed(3))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    options = {'betas': (0.9, 0.99), 'weight_decay': 0.1}
    optimisers = (
        Muon([ours], lr=0.02, adam_lr_ratio=0.05, **options),
        torch.optim.AdamW([theirs], lr=0.001, eps=1e-8, **options),
    )
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        gradient = torch.randn(5, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(ours, theirs)

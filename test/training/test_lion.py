"""Lion against the paper's Algorithm 2 by hand."""

from __future__ import annotations

import pytest
import torch

from metric_depth_ros.training.lion import Lion


def test_two_steps_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    weight.grad = torch.tensor([2.0, -3.0, 0.0])
    optimizer.step()
    # c = 0.1 g: signs 1, -1, 0; each weight first shrinks by 0.1 * 0.5. m = 0.01 g.
    expected = torch.tensor([0.95 - 0.1, -1.9 + 0.1, 2.85])
    torch.testing.assert_close(weight.data, expected)
    torch.testing.assert_close(optimizer.state[weight]['momentum'], torch.tensor([0.02, -0.03, 0]))

    # Now c = 0.9 m + 0.1 g: 0.018 - 0.01 > 0 although the gradient is negative; -0.027 + 0.05 > 0.
    weight.grad = torch.tensor([-0.1, 0.5, -1.0])
    optimizer.step()
    expected = expected * 0.95 - 0.1 * torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(weight.data, expected)
    momentum = torch.tensor([0.99 * 0.02 - 0.001, -0.99 * 0.03 + 0.005, -0.01])
    torch.testing.assert_close(optimizer.state[weight]['momentum'], momentum)


def test_weights_without_a_gradient_stay() -> None:
    still, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = Lion([still, moved], lr=0.1, weight_decay=1.0)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still.data, torch.ones(2))
    torch.testing.assert_close(moved.data, torch.full((2,), 0.8))


def test_groups_have_their_own_decay_and_it_finds_a_minimum() -> None:
    a, b = torch.nn.Parameter(torch.tensor(4.0)), torch.nn.Parameter(torch.tensor(-4.0))
    optimizer = Lion([{'params': [a], 'weight_decay': 0.0}, {'params': [b]}], lr=0.01)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (a - 1) ** 2 + (b + 2) ** 2
        loss.backward()
        return loss.item()

    first = optimizer.step(closure)
    for _ in range(600):
        optimizer.step(closure)
    assert first == pytest.approx(9 + 4)
    assert a.item() == pytest.approx(1, abs=0.15)
    assert b.item() == pytest.approx(-2, abs=0.15)

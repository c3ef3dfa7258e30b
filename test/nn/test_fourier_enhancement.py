"""The Fourier module: Eq. 6 and 7 against NumPy's transforms; what comes after a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from metric_depth_ros.nn.fourier_enhancement import FourierEnhancement, after


def features(height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, generator=generator)


@pytest.mark.parametrize('size', [(4, 6), (5, 7), (1, 3)])
def test_it_begins_as_the_identity(size: tuple[int, int]) -> None:
    x = features(*size)
    torch.testing.assert_close(FourierEnhancement(3)(x), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize('size', [(4, 6), (5, 7)])
def test_the_frequency_pass_is_equation_6(size: tuple[int, int]) -> None:
    module, x = FourierEnhancement(2), features(*size, channels=2)
    weight = module.modulator.weight.detach()[:, :, 0, 0].double().numpy()
    bias = module.modulator.bias.detach().double().numpy()
    spectrum = np.fft.rfft2(x.double().numpy(), norm='ortho')
    stacked = np.concatenate([spectrum.real, spectrum.imag], axis=1)
    mixed = np.einsum('oi,bihw->bohw', weight, stacked) + bias[None, :, None, None]
    active = mixed / (1 + np.exp(-mixed))
    expected = np.fft.irfft2(active[:, :2] + 1j * active[:, 2:], s=size, norm='ortho')
    found = module.frequency(x).double()
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_a_modulator_that_keeps_one_frequency_keeps_one_wave() -> None:
    module = FourierEnhancement(1)
    module.activation = nn.Identity()
    nn.init.dirac_(module.modulator.weight)
    nn.init.zeros_(module.modulator.bias)
    x = features(6, 8, 1)
    torch.testing.assert_close(module.frequency(x), x, atol=1e-6, rtol=0)  # there and back
    with torch.no_grad():
        module.join.weight.zero_()
        module.join.weight[:, 1] = 1  # the frequency pass alone
        module.modulator.weight.mul_(3)
    torch.testing.assert_close(module(x), 3 * x, atol=1e-5, rtol=0)


def test_all_of_it_learns() -> None:
    module = FourierEnhancement(3)
    with torch.no_grad():
        module.join.weight.add_(0.01)  # as after a step
    module(features(4, 6)).square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in module.parameters())


def test_half_precision_goes_through_float32_transforms() -> None:
    module, x = FourierEnhancement(3).bfloat16(), features(5, 6)
    out = module(x.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), x, atol=0.03, rtol=0.02)


def test_after_a_block_the_outermost_sees_first_and_nothing_stays() -> None:
    block, seen = nn.Linear(2, 2), []
    x = torch.ones(1, 2)
    plain = block(x)
    with after(block, seen.append), after(block, lambda y: 2 * y):
        torch.testing.assert_close(block(x), 2 * plain)
    torch.testing.assert_close(seen[0], plain)
    assert torch.equal(block(x), plain)
    with pytest.raises(ZeroDivisionError), after(block, lambda y: y / (1 // 0)):
        block(x)
    assert torch.equal(block(x), plain)

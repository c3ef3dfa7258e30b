from __future__ import annotations

import pytest
import torch

from metric_depth_ros.nn.pyramid import ConcatenatePyramid, TopDownPyramid
from metric_depth_ros.nn.resnet import ResNet18
from metric_depth_ros.nn.subset import random_subset


@pytest.mark.parametrize('group_norm', [True, False])
@torch.no_grad()
def test_four_maps(group_norm: bool) -> None:
    encoder = ResNet18(width=8, in_channels=6, group_norm=group_norm).eval()
    maps = encoder(torch.randn(2, 6, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (8, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3),
    ]  # fmt: skip


def test_published_parameters() -> None:
    """Count and names of the published ImageNet weights, the classifier left out."""
    with torch.device('meta'):
        encoder = ResNet18()
    assert sum(p.numel() for p in encoder.parameters()) == 11_689_512 - 513_000
    state = encoder.state_dict()
    assert state['conv1.weight'].shape == (64, 3, 7, 7)
    assert state['layer4.0.downsample.0.weight'].shape == (512, 256, 1, 1)
    assert state['layer4.1.bn2.running_var'].shape == (512,)
    assert len(state) == 120


@pytest.mark.parametrize('kind', [ConcatenatePyramid, TopDownPyramid])
@torch.no_grad()
def test_pyramid_sees_every_level_at_the_finest_resolution(kind) -> None:
    torch.manual_seed(0)
    pyramid = kind((8, 16, 32), 16)
    maps = [torch.randn(1, 8, 12, 20), torch.randn(1, 16, 6, 10), torch.randn(1, 32, 3, 5)]
    out = pyramid(maps)
    assert out.shape == (1, 16, 12, 20)
    for level in range(3):
        changed = [m + (i == level) for i, m in enumerate(maps)]
        assert not torch.allclose(pyramid(changed), out)


def test_subset_is_of_the_members_without_repetition() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 50, generator=generator) < 0.5
    mask[2] = False
    mask[2, :4] = True
    indices, chosen = random_subset(mask, 10, generator)
    assert chosen.sum(1).tolist() == [10, 10, 4]
    for row in range(3):
        picked = indices[row, chosen[row]]
        assert mask[row, picked].all()
        assert len(set(picked.tolist())) == len(picked)
    everything, chosen = random_subset(mask, 80, generator)
    assert everything.shape == (3, 50)
    assert chosen.sum(1).tolist() == mask.sum(1).tolist()


def test_every_member_is_as_likely() -> None:
    generator = torch.Generator().manual_seed(0)
    indices, _ = random_subset(torch.ones(4000, 8, dtype=torch.bool), 2, generator)
    counts = torch.bincount(indices.flatten(), minlength=8)
    assert counts.min() > 900
    assert counts.max() < 1100

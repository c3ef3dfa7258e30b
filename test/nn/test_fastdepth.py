"""FastDepth against its layers written out; how much of what it says is believed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metric_depth_ros.layouts.card import load_tensors
from metric_depth_ros.nn.fastdepth import DepthPrior, FastDepth
from metric_depth_ros.training.beginning import PRETRAINED

ERROR = 0.2


@pytest.fixture(scope='module')
def network() -> FastDepth:
    network = FastDepth().eval()
    network.load_state_dict(load_tensors(PRETRAINED['prior'], network.state_dict()))
    return network


def scene(seed: int = 0, height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 4, 6), generator=generator) * 2 - 1
    return F.interpolate(coarse, (height, width), mode='bilinear')


def test_is_the_network_of_the_paper(network: FastDepth) -> None:
    """MobileNet to a 32nd of the size; five times 5x5 and twice as large; three skips (Fig. 2)."""
    weights = network.state_dict()

    def convolved(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel, bias = weights[f'{name}.weight'], weights[f'{name}.bias']
        groups = x.shape[1] if kernel.shape[1] == 1 and len(kernel) == x.shape[1] else 1
        return F.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2, 1, groups)

    image = scene()
    x = convolved(image / 2 + 0.5, 'stem', 2).clamp(0, 6)
    at = {}  # size of the map: the last of the encoder's maps of that size
    for number, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)):
        x = convolved(x, f'encoder.{number}.depthwise', stride).clamp(0, 6)
        x = convolved(x, f'encoder.{number}.pointwise').clamp(0, 6)
        at[x.shape[-1]] = x
    assert x.shape == (1, 512, 2, 3)
    for number, skips in enumerate((False, True, True, True, False)):
        x = convolved(x, f'decoder.{number}.depthwise').relu()
        x = convolved(x, f'decoder.{number}.pointwise').relu()
        x = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        x = x + at[x.shape[-1]] if skips else x
    x = convolved(x, 'head').relu()

    with torch.no_grad():
        said = network(image)
    assert said.shape == (1, 1, 64, 96)
    torch.testing.assert_close(said, x, rtol=1e-4, atol=1e-4)


def test_knows_a_real_room(network: FastDepth, shared_data: Path) -> None:
    """Better than the best constant, which is told the truth, and at its scale."""
    folder = shared_data / 'tum_fr3_cabinet'
    image = cv2.resize(cv2.imread(str(folder / 'rgb' / '0001.jpg')), (256, 192))[..., ::-1]
    stored = cv2.imread(str(folder / 'depth' / '0001.png'), cv2.IMREAD_UNCHANGED)
    depth = cv2.resize(stored, (256, 192), interpolation=cv2.INTER_NEAREST) / 5000
    inputs = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        said = network(inputs)[0, 0].numpy()
    known = depth > 0
    said, depth = said[known], depth[known]
    assert abs(np.log(np.median(said) / np.median(depth))) < 0.25
    error = np.abs(np.log(said / depth)).mean()
    assert error < np.abs(np.log(depth / np.median(depth))).mean()


@pytest.fixture(scope='module')
def prior(network: FastDepth) -> DepthPrior:
    prior = DepthPrior(ERROR).eval()
    prior.network.load_state_dict(network.state_dict())
    return prior


@pytest.mark.parametrize(
    ('size', 'known'), [((96, 128), (192, 256)), ((384, 512), (192, 256)), ((64, 224), (128, 416))]
)
def test_looks_at_the_image_at_the_size_it_knows(
    network: FastDepth, prior: DepthPrior, size: tuple[int, int], known: tuple[int, int]
) -> None:
    image = scene(0, *size)
    said = prior.look(image)
    resized = F.interpolate(image, known, mode='bicubic').clamp(-1, 1)
    with torch.no_grad():
        expected = F.interpolate(network(resized), size, mode='area')[:, 0]
    torch.testing.assert_close(said, expected, rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in prior.parameters())


def factor(prior: DepthPrior, own: Tensor | float, said: Tensor | float, **more: Tensor) -> Tensor:
    own, said = (torch.as_tensor(d).expand(1, 64, 96) for d in (own, said))
    return prior(own, said, more.get('valid', torch.ones((1, 64, 96), dtype=torch.bool)))


HALVES = torch.where(torch.arange(96) < 40, 1.0, 0.0).expand(1, 64, 96)  # 40 columns of 96


@pytest.mark.parametrize('ratio', [1.1, 1.4, 2.0, 4.0, 0.3])
@pytest.mark.parametrize('scale', [0.5, 1.0, 1.5])
def test_shape_is_weighted_by_one_over_its_variance(
    prior: DepthPrior, ratio: float, scale: float
) -> None:
    """error^2 / mean square difference, at most a half; how large all is does not count."""
    difference = torch.tensor(ratio).log() * HALVES  # its median is 0
    weight = (ERROR**2 / difference.square().mean()).clamp(max=0.5)
    assert (weight == 0.5) == (ratio in (1.1, 1.4))
    found = factor(prior, 3.0, 3.0 * scale * difference.exp())
    torch.testing.assert_close(found, (weight * difference).exp(), rtol=1e-3, atol=0)


def test_each_image_of_a_batch_is_its_own(prior: DepthPrior) -> None:
    own = torch.stack([3.0 + HALVES[0], 5.0 - HALVES[0], torch.full((64, 96), 50.0)])
    said = torch.stack([2.0 + HALVES[0], 5.0 + HALVES[0], 2.0 + HALVES[0]])
    found = prior(own, said, torch.ones_like(own, dtype=torch.bool))
    for n in range(3):
        torch.testing.assert_close(found[n : n + 1], factor(prior, own[n], said[n]))
    assert (found[2] == 1).all()


def test_only_rooms_are_known(prior: DepthPrior) -> None:
    """As much of the image as is nearer than 10 m: 0.9 for nothing, all for everything."""
    columns = torch.arange(96)
    bump = 1 + 0.1 * HALVES
    full = factor(prior, 3.0, 3 * bump)[0, 0, 0]
    assert full > 1
    for share, believed in ((1.0, 1.0), (0.95, 0.5), (0.89, 0.0), (0.5, 0.0)):
        own = torch.where(columns < round(share * 96), 3.0, 40.0).expand(1, 64, 96)
        found = factor(prior, own, 3 * bump)
        assert (found[..., -1] == 1).all()  # what is far stays
        assert float(found[0, 0, 0].log()) == pytest.approx(believed * float(full.log()), rel=0.1)
    assert 1 < factor(prior, 9.0, 9 * bump)[0, 0, 0] < full  # fades towards 10 m
    assert (factor(prior, 0.2, 0.2 * bump) == 1).all()


def test_what_is_not_valid_does_not_count(prior: DepthPrior) -> None:
    valid = torch.arange(96).expand(1, 64, 96) < 82
    own = torch.where(valid, 3.0, torch.nan)
    said = torch.where(valid, 3 + HALVES, 0.0)
    found = factor(prior, own, said, valid=valid)
    difference = torch.tensor(4 / 3).log() * HALVES
    weight = (ERROR**2 / difference[valid].square().mean()).clamp(max=0.5)
    torch.testing.assert_close(found[valid], (weight * difference)[valid].exp())
    assert (found[~valid] == 1).all()
    assert (factor(prior, 3.0, said, valid=torch.zeros_like(valid)) == 1).all()

"""GRIN's regression head, averaged with what a frozen depth network says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.objectives.grin import loss

from . import test_grin
from .test_grin import HEIGHT, WIDTH, batch, draw, look

OWN = 3.0  # metres of ray distance, everywhere


def config_with(**changes) -> GrinConfig:
    return test_grin.config_with(depth_prior=0.25, **changes)


def network(config: GrinConfig) -> Grin:
    """Its head says OWN of ray distance, its prior the same depth along z everywhere."""
    method = test_grin.network(config)
    nn.init.zeros_(method.regression.weight)
    nn.init.constant_(method.regression.bias, method.to_code(torch.tensor(OWN)).item())
    for parameter in method.prior.network.head.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(method.prior.network.head.bias, 1.7)
    return method


def averaged(scene) -> Tensor:
    """(h, w) metres of ray distance, of a distance OWN and a flat wall, half of each.

    In the middle of all pixels both have the same depth, as the head alone says how far it is.
    """
    z = scene.rays[2]
    return OWN * (z.median() / z).sqrt()


def regressed(method: Grin, scene=None) -> Tensor:
    """(h, w) metres of ray distance."""
    scene = look() if scene is None else scene
    with torch.no_grad():
        encoded = method.encode(scene.image[None], scene.rays[None], scene.valid[None])
    return method.from_code(encoded.regression[0])


def test_the_head_and_the_prior_meet_halfway_where_they_agree() -> None:
    scene = look()
    found = regressed(network(config_with()), scene)
    torch.testing.assert_close(found, averaged(scene), rtol=1e-3, atol=0)
    assert found.max() / found.min() > 1.02


def test_without_it_nothing_changes() -> None:
    plain = Grin(test_grin.config_with()).eval()
    given = network(config_with()).state_dict()
    plain.load_state_dict({k: v for k, v in given.items() if k[:6] != 'prior.'})
    torch.testing.assert_close(regressed(plain), torch.full((HEIGHT, WIDTH), OWN))


def test_how_large_all_is_stays_the_head_s_to_say() -> None:
    """The camera's focal length, which the prior does not know, counts in full."""
    method = network(config_with())
    for scale in (0.3, 3.0):
        nn.init.constant_(method.prior.network.head.bias, scale)
        torch.testing.assert_close(regressed(method), averaged(look()), rtol=1e-3, atol=0)


def test_what_is_drawn_is_around_both() -> None:
    scene = look()
    # data_scale: nothing is left to diffuse.
    depth = draw(network(config_with(data_scale=1e-6)), scene, 2)
    expected = averaged(scene) * scene.rays[2]
    torch.testing.assert_close(depth, expected.expand_as(depth), rtol=1e-3, atol=1e-3)


def test_the_network_is_asked_once_for_each_side() -> None:
    config = config_with(mirror_samples=True, pretrained_scales=(1,), hide_samples=True)
    method, asked = network(config), []
    method.prior.network.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    draw(method, look(), 4)
    assert [len(images) for images in asked] == [1, 1]
    torch.testing.assert_close(asked[1], asked[0].flip(-1))
    method.features(look())  # which are of the encoder alone
    assert len(asked) == 2


def test_training_is_of_the_head_alone() -> None:
    method = network(config_with(diffusion_share=0.0)).train()
    parts = loss(method, batch(OWN), torch.Generator().manual_seed(0))
    assert parts['regression'] < 1e-5


def test_it_wants_a_head() -> None:
    with pytest.raises(MetricDepthError, match=r'depth_prior 0\.25 and regression_weight 0'):
        config_with(regression_weight=0.0, diffuse_residual=False)

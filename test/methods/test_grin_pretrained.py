"""GRIN with a pretrained network beside its encoder: what it sees where the encoder does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.objectives.grin import loss
from metric_depth_ros.types import Conditioning

from . import test_grin
from .test_grin import batch, draw, look


def config_with(**changes) -> GrinConfig:
    # No patches: of the image only the encoder and the pretrained network know.
    return test_grin.config_with(local_width=0, **changes)


def network(config: GrinConfig, *, projected: bool = True) -> Grin:
    """Random weights; `projected`: also those that begin as zeros."""
    method = test_grin.network(config)
    if projected:
        for parameter in method.pretrained.project.parameters():
            nn.init.normal_(parameter, std=0.1)
    return method


def merged(method: Grin, scene: Conditioning, hidden: bool | None = None) -> Tensor:
    image, rays, valid = scene.image[None], scene.rays[None], scene.valid[None]
    which = None if hidden is None else torch.tensor([hidden])
    with torch.no_grad():
        return method.encode(image, rays, valid, which).merged


def test_it_begins_as_the_network_without_it() -> None:
    plain, beside = Grin(config_with()), network(config_with(pretrained_scales=(1, 2)))
    begun = network(config_with(pretrained_scales=(1, 2)), projected=False)
    for method in (beside, begun):
        method.load_state_dict({**method.state_dict(), **plain.state_dict()})
    torch.testing.assert_close(merged(begun, look()), merged(plain.eval(), look()))
    assert not torch.allclose(merged(beside, look()), merged(plain, look()), rtol=1e-2)


def test_hidden_from_the_encoder_the_image_is_seen_by_the_pretrained_network_alone() -> None:
    blind = network(config_with(pretrained_scales=(1,)), projected=False)
    assert torch.equal(
        merged(blind, look(seed=5), hidden=True), merged(blind, look(seed=6), hidden=True)
    )
    seeing = network(config_with(pretrained_scales=(1,)))
    assert not torch.allclose(
        merged(seeing, look(seed=5), hidden=True),
        merged(seeing, look(seed=6), hidden=True),
        rtol=1e-2,
    )
    assert torch.equal(merged(seeing, look(), hidden=False), merged(seeing, look()))


def test_each_image_of_a_batch_is_hidden_or_not() -> None:
    method, scene = network(config_with(pretrained_scales=(1,))), look()
    image, rays, valid = (x.expand(2, *x.shape) for x in (scene.image, scene.rays, scene.valid))
    with torch.no_grad():
        both = method.encode(image, rays, valid, torch.tensor([True, False])).merged
    torch.testing.assert_close(both[:1], merged(method, scene, hidden=True))
    torch.testing.assert_close(both[1:], merged(method, scene, hidden=False))


def test_of_four_samples_two_are_hidden() -> None:
    # data_scale: nothing is left to diffuse, so samples differ by how they look alone.
    config = config_with(pretrained_scales=(1,), mirror_samples=True, data_scale=1e-6)
    plain = network(config)
    mixed = network(replace(config, hide_samples=True))

    scene = look()
    torch.testing.assert_close(draw(mixed, scene), draw(plain, scene), rtol=1e-4, atol=1e-4)
    samples, unhidden = draw(mixed, scene, 4), draw(plain, scene, 4)
    torch.testing.assert_close(samples[:2], unhidden[:2], rtol=1e-4, atol=1e-4)
    for sample in (2, 3):
        assert not torch.allclose(samples[sample], unhidden[sample], rtol=1e-2)
    # With every image hidden, the encoder sees no difference between the pairs.
    blind = network(replace(config, hide_samples=True))
    nn.init.zeros_(blind.encoder.conv1.weight[:, :3])
    torch.testing.assert_close(*draw(blind, scene, 4).chunk(2), rtol=1e-4, atol=1e-4)


def test_the_pretrained_network_looks_once_at_each_side() -> None:
    config = config_with(pretrained_scales=(1,), mirror_samples=True, hide_samples=True)
    method, looks = network(config), []
    method.pretrained.network.register_forward_pre_hook(lambda _, given: looks.append(given[0]))
    draw(method, look(), 4)
    assert [len(images) for images in looks] == [1, 1]
    torch.testing.assert_close(looks[1], looks[0].flip(-1))


@pytest.mark.parametrize(('share', 'seen'), [(1.0, False), (0.0, True)])
def test_dropped_out_images_teach_the_encoder_nothing_of_their_colours(
    share: float, seen: bool
) -> None:
    config = config_with(pretrained_scales=(1,), image_dropout=share, diffusion_share=0.0)
    method = network(config).train()
    loss(method, batch(), torch.Generator().manual_seed(0))['loss'].backward()
    colours, rays = method.encoder.conv1.weight.grad.split(3, dim=1)
    assert bool(colours.any()) == seen
    assert rays.any()
    assert method.pretrained.project[0][0].weight.grad.any()


def test_style_noise_is_of_training_alone() -> None:
    calm = network(config_with(pretrained_scales=(1,), diffusion_share=0.0))
    noisy = network(config_with(pretrained_scales=(1,), diffusion_share=0.0, style_noise=0.3))
    noisy.load_state_dict(calm.state_dict())
    assert torch.equal(merged(noisy, look()), merged(calm, look()))

    def of_step(method: Grin, seed: int) -> Tensor:
        return loss(method, batch(), torch.Generator().manual_seed(seed))['loss']

    assert of_step(noisy, 1) != of_step(calm, 1)
    assert of_step(noisy, 1) == of_step(noisy, 1)
    assert of_step(noisy, 1) != of_step(noisy, 2)


@pytest.mark.parametrize(
    'change', [{'image_dropout': 0.5}, {'style_noise': 0.3}, {'hide_samples': True}], ids=str
)
def test_what_hides_the_image_wants_who_sees_it(change: dict) -> None:
    with pytest.raises(MetricDepthError, match='expected pretrained_scales'):
        config_with(**change)


def test_the_image_is_enlarged_once_or_twice() -> None:
    with pytest.raises(MetricDepthError, match=r'pretrained_scales \(3,\), expected some'):
        config_with(pretrained_scales=(3,))
    assert config_with(pretrained_scales=[1, 2]).pretrained_scales == (1, 2)  # as JSON has it

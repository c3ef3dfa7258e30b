"""MobileNetV2 against the one of transformers; its maps beside an encoder's."""

import pytest
import torch
from torch import nn
from transformers import MobileNetV2Config, MobileNetV2Model

from metric_depth_ros.nn.mobilenet import MobileNetV2, PretrainedMaps, unsettled

ENCODER = (8, 16, 32, 64)


def random_reference() -> MobileNetV2Model:
    """With batch norms that have seen something, so that folding them counts."""
    config = MobileNetV2Config(
        finegrained_output=False, output_stride=32, tf_padding=True, first_layer_is_expansion=True
    )
    network = MobileNetV2Model(config, add_pooling_layer=False).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
            ):
                values.data.uniform_(low, high, generator=generator)
    return network


def fold(layer: nn.Module, conv: nn.Conv2d) -> None:
    """Give `conv` the weights of a convolution and the batch norm behind it."""
    norm = layer.normalization
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    conv.weight.data.copy_(layer.convolution.weight * gain[:, None, None, None])
    conv.bias.data.copy_(norm.bias - norm.running_mean * gain)


def test_is_the_network_of_transformers() -> None:
    reference, ours = random_reference(), MobileNetV2().eval()
    stem = reference.conv_stem
    fold(stem.first_conv, ours.stem)
    fold(stem.conv_3x3, ours.blocks[0].depthwise)
    fold(stem.reduce_1x1, ours.blocks[0].project)
    for layer, block in zip(reference.layer, ours.blocks[1:], strict=True):
        fold(layer.expand_1x1, block.expand)
        fold(layer.conv_3x3, block.depthwise)
        fold(layer.reduce_1x1, block.project)
    image = torch.rand((2, 3, 64, 96), generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        maps = ours(image)
        states = reference(image, output_hidden_states=True).hidden_states
    assert [tuple(x.shape) for x in maps] == [
        (2, 24, 16, 24), (2, 32, 8, 12), (2, 96, 4, 6), (2, 320, 2, 3),
    ]  # fmt: skip
    for x, number in zip(maps, (1, 4, 11, 15), strict=True):
        torch.testing.assert_close(x, states[number], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('scales', 'levels'), [((1,), 4), ((2,), 3), ((1, 2), 4)], ids=['as it is', 'twice', 'both']
)
def test_begins_as_nothing_at_the_strides_of_the_encoder(
    scales: tuple[int, ...], levels: int
) -> None:
    maps = PretrainedMaps(ENCODER, scales)(torch.rand((2, 3, 64, 96)))
    assert [tuple(x.shape) for x in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(ENCODER, (4, 8, 16, 32), strict=True)
    ][:levels]
    assert not any(x.any() for x in maps)


def test_two_scales_add_up() -> None:
    both = PretrainedMaps(ENCODER, (1, 2))
    for parameter in both.project.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(3))
    alone = []
    for number, scale in enumerate(both.scales):
        one = PretrainedMaps(ENCODER, (scale,))
        one.network.load_state_dict(both.network.state_dict())
        one.project[0].load_state_dict(both.project[number].state_dict())
        alone.append(one(image))
    together = both(image)
    torch.testing.assert_close(together[0], alone[0][0] + alone[1][0])
    torch.testing.assert_close(together[3], alone[0][3])


def test_the_network_does_not_learn_and_what_it_is_projected_by_does() -> None:
    maps = PretrainedMaps(ENCODER, (1, 2))
    sum(x.square().sum() + x.sum() for x in maps(torch.rand((1, 3, 64, 64)))).backward()
    assert all(p.grad is None for p in maps.network.parameters())
    assert all(p.grad.any() for p in maps.project.parameters())


def channels(images: int = 400, strength: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of one pattern in every image, and the same unsettled."""
    pattern = torch.randn((1, 3, 6, 8), generator=torch.Generator().manual_seed(4))
    pattern = pattern * torch.tensor([0.1, 1, 10])[:, None, None] + 2
    maps = pattern.expand(images, -1, -1, -1)
    return maps, unsettled(maps, strength, torch.Generator().manual_seed(5))


def test_unsettled_channels_keep_their_pattern() -> None:
    before, after = (
        (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True) for x in channels()
    )
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_unsettled_channels_move_by_the_strength() -> None:
    before, after = channels()
    deviation = before.std((0, 2, 3))
    stretch = (after.std((2, 3)) / before.std((2, 3))).log()
    torch.testing.assert_close(stretch.std(0), torch.full((3,), 0.3), rtol=0.15, atol=0)
    shift = after.mean((2, 3)) - before.mean((2, 3)) * stretch.exp()
    torch.testing.assert_close(shift.std(0), 0.3 * deviation, rtol=0.15, atol=0)
    together = torch.stack([stretch[:, 0], stretch[:, 1], shift[:, 0], shift[:, 1]])
    assert (together.corrcoef() - torch.eye(4)).abs().max() < 0.2  # each for itself


def test_style_noise_is_the_generators() -> None:
    maps = PretrainedMaps(ENCODER, (1, 2), style_noise=0.3)
    for parameter in maps.project.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(3))
    calm = maps(image)
    for level, x in enumerate(maps(image, torch.Generator().manual_seed(6))):
        again = maps(image, torch.Generator().manual_seed(6))[level]
        assert torch.equal(again, x)
        assert not torch.allclose(x, calm[level], rtol=1e-2)

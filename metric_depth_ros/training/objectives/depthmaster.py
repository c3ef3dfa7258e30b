"""DepthMaster's objective: Eq. 9 in the first stage, Eq. 10 in the second.

The config's weights say which of the losses there are. In the first stage the denoiser is held to
the latents of the true depth, and its middle block to the features of a better encoder; in the
second to the pixels of the true depth and to their differences.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import MetricDepthError
from ...methods.depthmaster import DepthMaster
from ...nn.fourier_enhancement import after
from ..batch import Batch
from ..feature_encoder import load_encoder

# Rows down and columns right to the neighbour: horizontal, vertical and both diagonals.
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def loss(method: DepthMaster, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch and its parts, each a scalar.

    Pixels without ground truth have no influence on pixels' losses, and latents whose cell has any
    none on latents'.

    Returns:
        'loss', what to minimise; 'latent' and 'alignment' where the config gives them a weight,
        'pixel' and 'gradient' where it gives one to either.
    Raises:
        MetricDepthError: features are to be aligned, and the method did not begin with a base, or
            the encoder is not what the config says.
    """
    config, latent = method.config, method.latent
    known, depth = supervised_depth(batch, method)
    code = method.to_code(depth, known)
    weights = {
        name: getattr(config, f'{name}_weight')
        for name in ('latent', 'alignment', 'pixel', 'gradient')
    }
    middle: list[Tensor] = []
    with contextlib.ExitStack() as stack:
        if weights['alignment']:
            stack.enter_context(after(latent.unet.mid_block, middle.append))
        with torch.no_grad():
            condition = latent.encode(batch.image)
            data = latent.encode_depth(code)
        if config.denoise:
            output, target = _denoising(method, condition, data, generator)
        else:
            output, target = method.step(condition), data

    losses: dict[str, Tensor] = {}
    if weights['latent']:
        cells = -F.max_pool2d(-known[:, None].float(), latent.stride)
        losses['latent'] = _weighted_mean((output - target).float().square(), cells)
    if weights['alignment']:
        losses['alignment'] = alignment_loss(method, batch, middle[0])
    if weights['pixel'] or weights['gradient']:
        predicted = latent.decode(output).mean(dim=1).float()
        losses['pixel'] = _weighted_mean((predicted - code).square(), known.float())
        huber = config.huber_delta, config.standard_huber
        losses['gradient'] = gradient_loss(predicted, code, known, *huber)
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    return {'loss': total, **losses}


def alignment_loss(method: DepthMaster, batch: Batch, middle: Tensor) -> Tensor:
    """L_fa of Eq. 4 and 5: mean divergence over the cells of the middle block.

    The encoder's features are brought to its grid; cells count by what of them lies in the image.

    Args:
        middle: (B, C, h', w') of the denoiser's middle block.
    """
    config = method.config
    if method.projector is None:
        raise MetricDepthError(
            'DepthMaster has no projector to align features with: train it from a base'
        )
    external = load_encoder(config.encoder, middle.device)(batch)
    if external.shape[1] != config.encoder_width:
        raise MetricDepthError(
            f'encoder {config.encoder!r} has {external.shape[1]} channels, expected '
            f'{config.encoder_width}, the encoder_width of the config'
        )
    size = middle.shape[-2:]
    external = F.interpolate(external.float(), size, mode='bilinear', antialias=True)
    projected = method.projector(middle.movedim(1, -1)).movedim(-1, 1)
    weight = F.interpolate(batch.inside[:, None].float(), size, mode='area')
    return _weighted_mean(feature_divergence(external, projected.float())[:, None], weight)


def feature_divergence(external: Tensor, projected: Tensor) -> Tensor:
    """(B, h, w) KL divergence of two features (B, D, h, w), each a softmax over its channels."""
    true, said = external.log_softmax(dim=1), projected.log_softmax(dim=1)
    return (true.exp() * (true - said)).sum(dim=1)


def gradient_loss(
    predicted: Tensor, true: Tensor, known: Tensor, delta: float, standard_huber: bool = False
) -> Tensor:
    """L_h of Eq. 8: mean over all pairs of neighbours, in four directions, that are both known.

    Args:
        predicted, true: (B, h, w) codes. known: (B, h, w) bool.
    """
    loss = F.huber_loss if standard_huber else modified_huber
    total = count = predicted.new_zeros(())
    for direction in DIRECTIONS:
        one, other = neighbours(predicted, direction)
        true_one, true_other = neighbours(true, direction)
        both = torch.logical_and(*neighbours(known, direction))
        error = loss(other - one, true_other - true_one, reduction='none', delta=delta)
        total, count = total + error.where(both, 0).sum(), count + both.sum()
    return total / count.clamp(min=1)


def neighbours(values: Tensor, direction: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Values (B, h, w) at all pixels that have a neighbour in that direction, and there."""
    down, right = direction
    h, w = values.shape[-2:]
    left = max(0, -right)
    one = values[:, : h - down, left : w - max(0, right)]
    other = values[:, down:, left + right : w - max(0, right) + right]
    return one, other


def modified_huber(
    predicted: Tensor, true: Tensor, *, delta: float, reduction: str = 'none'
) -> Tensor:
    """Eq. 8 as printed: linear up to delta, quadratic above; its slope is the larger of both.

    (The sentence after it has it the other way round, as Huber's own is.)
    """
    error = (true - predicted).abs()
    return torch.where(error <= delta, delta * error, 0.5 * error.square() + 0.5 * delta**2)


def supervised_depth(batch: Batch, method: DepthMaster) -> tuple[Tensor, Tensor]:
    """(B, h, w) bool, pixels that take part in the loss, and (B, h, w) metres along z.

    With clip_sky everything beyond `far` is supervised at `far`, without it left out. Where
    nothing is known the depth is `far`: the autoencoder needs some.
    """
    config = method.config
    depth = batch.ray_distance * batch.rays[:, 2]
    if config.clip_sky:
        known = batch.inside & (batch.valid | batch.ray_distance.isposinf())
    else:
        known = batch.inside & batch.valid & (depth <= config.far)
    return known, depth.where(known, config.far).clamp(config.near, config.far)


def _denoising(
    method: DepthMaster, condition: Tensor, data: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What the denoiser says at one random time for each image, and what it should say."""
    latent = method.latent
    count, device = latent.num_train_steps, data.device
    t = torch.randint(count, (len(data),), generator=generator, device=generator.device)
    noise = torch.randn(data.shape, generator=generator, device=generator.device)
    t, noise = t.to(device), noise.to(device, data.dtype)
    output = latent.predict(latent.add_noise(data, noise, t), t, condition)
    return output, latent.target(data, noise, t)


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values; weight is broadcast to them."""
    weight = weight.expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)

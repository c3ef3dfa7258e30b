"""GRIN's objective: denoise a random few of the pixels that have ground truth (4.1, 4.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods.grin import Grin, GrinConfig
from ...methods.grin_tokens import Scene
from ...nn import sampling
from ...nn.subset import random_subset
from ..batch import Batch


def loss(method: Grin, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch and its parts, each a scalar.

    Pixels without ground truth, and whatever their ray_distance holds, have no influence; images
    without any ground truth count for nothing.

    Returns:
        'loss', what to minimise; 'regression' if the config has that head; 'diffusion' in the
        config's diffusion_share of all steps.
    """
    config = method.config
    supervised = supervised_pixels(batch, config)
    codes = method.to_code(batch.ray_distance.where(supervised, config.near))

    hidden = None
    if config.image_dropout:
        draws = torch.rand(len(codes), generator=generator, device=generator.device)
        hidden = (draws < config.image_dropout).to(codes.device)
    scene = method.encode(batch.image, batch.rays, batch.inside, hidden, generator)
    losses = {}
    if scene.regression is not None:
        error = F.l1_loss(scene.regression, codes, reduction='none')
        losses['regression'] = masked_mean(error, supervised)
    if (
        torch.rand((), generator=generator, device=generator.device).item()
        < config.diffusion_share
    ):
        losses['diffusion'] = diffusion_loss(method, scene, codes, supervised, generator)
    weights = {'regression': config.regression_weight, 'diffusion': 1.0}
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    return {'loss': total, **losses}


def diffusion_loss(
    method: Grin, scene: Scene, codes: Tensor, supervised: Tensor, generator: torch.Generator
) -> Tensor:
    """Denoising loss of a random few supervised pixels (4.1), read by a random few tokens.

    codes, supervised: (B, h, w), see Grin.to_code and supervised_pixels.
    """
    config, device = method.config, codes.device
    pixels, chosen = random_subset(supervised.flatten(1), config.train_pixels, generator)
    cells, kept = random_subset(scene.global_valid, config.train_globals, generator)
    tokens = method.tokens(scene, pixels, chosen, cells, kept)

    data = method.to_data(codes.flatten(1).gather(1, pixels), tokens.centre)
    noise = torch.randn(data.shape, generator=generator, device=generator.device).to(device)
    t = torch.rand(len(data), generator=generator, device=generator.device).to(device)
    conditioned = torch.rand((), generator=generator, device=generator.device).item()
    gamma = method.gamma(t)[:, None]
    noisy = sampling.add_noise(data, noise, gamma)

    latents: Tensor | None = None
    if conditioned < config.self_conditioning:
        with torch.no_grad():
            _, latents = method.denoise(tokens, noisy, t)
    output, _ = method.denoise(tokens, noisy, t, latents)

    if config.data_loss:
        output, target = method.predicted_data(noisy, output, gamma), data
    elif config.predict_velocity:
        target = sampling.velocity(data, noise, gamma)
    else:
        target = noise
    distance = F.l1_loss if config.absolute_loss else F.mse_loss
    return masked_mean(distance(output, target, reduction='none'), chosen)


def supervised_pixels(batch: Batch, config: GrinConfig) -> Tensor:
    """(B, h, w) bool: pixels that take part in the loss.

    With clip_sky everything beyond `far` is supervised at `far`, without it left out.
    """
    if config.clip_sky:
        return batch.inside & (batch.valid | batch.ray_distance.isposinf())
    return batch.inside & batch.valid & (batch.ray_distance <= config.far)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values under the mask; 0 if there is none."""
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)

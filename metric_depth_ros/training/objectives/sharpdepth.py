"""SharpDepth's objective (Section 4.2): edges of a diffusion model, metres of a coarse depth.

It takes images and a coarse depth, and no ground truth. What it distils has learned from some: for
small networks, of which nobody has published any, that objective is here too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import MetricDepthError
from ...methods.sharpdepth import Distillation, SharpDepth
from ..batch import Batch

_SKY_M = 100.0


def loss(method: SharpDepth, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch (Eq. 7) and its parts, each a scalar.

    Returns:
        'loss', what to minimise; 'sds' (Eq. 5) and 'reconstruction' (Eq. 6), not yet weighted;
        'difference', the mean of e, which is not minimised. In pretraining 'loss' alone.

    Raises:
        MetricDepthError: the batch has no coarse depth in metres, or the method no pretrained
            denoiser.
    """
    if method.config.pretraining:
        return {'loss': pretraining_loss(method, batch, generator)}
    coarse, distillation = _coarse(batch), _distillation(method)
    latent, config = method.latent, method.config
    distillation.follow(latent.unet, config.teacher_decay)
    noise = method.noise(batch.image, 1, generator)
    with torch.no_grad():
        condition = latent.encode(batch.image)
        noise = noise.to(condition.dtype)
        said = method.teach(noise[0], condition, coarse, unet=distillation.teacher)
        comparison = method.compare(said, coarse)
        gated = method.gated(comparison, noise[1])
    sharpened = method.refine(gated, condition).float()

    cells = -F.max_pool2d(-batch.inside[:, None].float(), latent.stride)
    sds = distillation_loss(method, distillation.prior, sharpened, condition, cells, generator)
    code = latent.decode(sharpened).mean(dim=1).float()
    error = (comparison.difference * (comparison.code - code)).abs()
    reconstruction = _masked_mean(error, comparison.known)
    return {
        'loss': config.sds_weight * sds + config.reconstruction_weight * reconstruction,
        'sds': sds,
        'reconstruction': reconstruction,
        'difference': _masked_mean(comparison.difference, comparison.known),
    }


def distillation_loss(
    method: SharpDepth,
    prior: nn.Module,
    latents: Tensor,
    condition: Tensor,
    cells: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """A scalar whose gradient by the latents is Eq. 5, with w = 1, over their number.

    What the prior makes of the noised latents is taken as it is: no gradient flows through it.

    Args:
        latents: (B, C, ...) what the model has made. condition: latents of the image.
        cells: (B, 1, ...) 1 for latents that count, else 0.
    """
    latent = method.latent
    low, high = (round(x * latent.num_train_steps) for x in method.config.distillation_times)
    device = generator.device
    t = torch.randint(low, max(high, low + 1), (len(latents),), generator=generator, device=device)
    noise = torch.randn(latents.shape, generator=generator, device=device).to(latents.device)
    t = t.to(latents.device)
    with torch.no_grad():
        noisy = latent.add_noise(latents, noise, t)
        output = latent.predict(noisy, t, condition, unet=prior)
        target = latent.original(output, noisy, t).float()
    error = (latents - target).square() * cells
    return 0.5 * error.sum() / (cells.sum() * latents.shape[1]).clamp(min=1)


def pretraining_loss(method: SharpDepth, batch: Batch, generator: torch.Generator) -> Tensor:
    """Denoise the latents of true depth: the first term of Eq. 2, in the scheduler's own words.

    Lotus knows the last time alone. This is for all times, every fourth image at the last: what is
    distilled with little noise keeps the layout that it is given. Latents whose cell has any pixel
    without truth do not count; sky does.
    """
    latent = method.latent
    sky = batch.ray_distance.isposinf()
    known = batch.inside & (batch.valid | sky)
    depth = torch.where(sky, _SKY_M, batch.ray_distance * batch.rays[:, 2]).where(known, _SKY_M)
    with torch.no_grad():
        condition = latent.encode(batch.image)
        data = latent.encode_depth(method.code_of(depth, known))
    device = generator.device
    times = torch.rand(len(data), generator=generator, device=device)
    t = (times * latent.num_train_steps / 0.75).long().clamp(max=latent.num_train_steps - 1)
    noise = torch.randn(data.shape, generator=generator, device=device).to(data)
    t = t.to(data.device)
    output = latent.predict(latent.add_noise(data, noise, t), t, condition)
    error = (output.float() - latent.target(data, noise, t).float()).square()
    cells = -F.max_pool2d(-known[:, None].float(), latent.stride)
    return (error * cells).sum() / (cells.sum() * data.shape[1]).clamp(min=1)


def _coarse(batch: Batch) -> Tensor:
    """(B, h, w) metres along z, NaN outside the images."""
    if batch.coarse is None or not batch.coarse.metric:
        found = 'none' if batch.coarse is None else 'a relative one'
        raise MetricDepthError(
            f'coarse depth is {found}, but SharpDepth needs one in metres: give the recipe '
            f'`coarse` with a metric model'
        )
    return batch.coarse.values.where(batch.inside, torch.nan)


def _distillation(method: SharpDepth) -> Distillation:
    if method.distillation is None:
        raise MetricDepthError(
            'SharpDepth distils a pretrained depth model and has none: name one as `base` of the '
            'recipe, as Lotus or a trained metricgold-small'
        )
    return method.distillation


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)

"""MetricGold's objective: denoise the latents of coded depth (2.3, and Marigold, Section 3.2).

The paper fine-tunes the denoiser of Stable Diffusion alone. A small network from scratch has no
autoencoder to start from: it learns one in the same steps, on images and coded depth alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...methods.metricgold import MetricGold, MetricGoldConfig
from ...nn.latent import multi_resolution_noise
from ..batch import Batch


def loss(method: MetricGold, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch and its parts, each a scalar.

    Pixels without ground truth have no influence on a latent's loss: latents whose cell has any
    are left out.

    Returns:
        'loss', what to minimise; 'diffusion'; and in the config's vae_share of all steps, if the
        autoencoder is trained, 'image', 'depth', 'kl' and 'scale' of it.
    """
    config = method.config
    known, depth = supervised_depth(batch, config)
    codes = method.to_code(depth)
    losses: dict[str, Tensor] = {}
    weights = {'diffusion': 1.0, 'image': 1.0, 'depth': 4.0, 'kl': config.kl_weight, 'scale': 0.1}
    chance = torch.rand((), generator=generator, device=generator.device).item()
    if config.train_vae and chance < config.vae_share:
        losses |= autoencoder_losses(method, batch, codes, known, generator)
    losses['diffusion'] = diffusion_loss(method, batch.image, codes, known, generator)
    total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    return {'loss': total, **losses}


def diffusion_loss(
    method: MetricGold, image: Tensor, codes: Tensor, known: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of what the denoiser predicts, at one random time for each image.

    codes, known: (B, h, w), see supervised_depth.
    """
    latent = method.latent
    with torch.no_grad():  # the autoencoder learns nothing from this
        condition, data = latent.encode(image), latent.encode_depth(codes)
    count, device = latent.num_train_steps, data.device
    t = torch.randint(count, (len(data),), generator=generator, device=generator.device)
    strength = method.config.multi_resolution * t / count  # annealed: plain noise at t = 0
    noise = multi_resolution_noise(data.shape, strength, generator).to(device, data.dtype)
    t = t.to(device)
    output = latent.predict(latent.add_noise(data, noise, t), t, condition)
    error = (output.float() - latent.target(data, noise, t).float()).square()
    cells = -F.max_pool2d(-known[:, None].float(), latent.stride)
    return (error * cells).sum() / (cells.sum() * error.shape[1]).clamp(min=1)


def autoencoder_losses(
    method: MetricGold, batch: Batch, codes: Tensor, known: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of the autoencoder on a part of images and coded depth, in one batch.

    'scale' keeps the latents at unit size, the size of the noise.
    """
    vae = method.latent.vae
    depth_picture = vary_codes(codes, known, generator)[:, None].expand(-1, 3, -1, -1)
    window = (..., *_half_window(codes.shape[-2:], method.multiple_of, generator))
    pictures = torch.cat([batch.image, depth_picture])[window]
    inside, known = batch.inside[window], known[window]
    posterior = vae.encode(pictures).latent_dist
    decoded = vae.decode(posterior.sample(generator), return_dict=False)[0]
    error = (decoded - pictures).abs().mean(dim=1)
    image, depth = error.chunk(2)
    latents = posterior.mode() * vae.config.scaling_factor
    return {
        'image': _masked_mean(image, inside),
        'depth': _masked_mean(depth, known),
        'kl': posterior.kl().mean() / latents[0].numel(),
        'scale': (latents.float().square().mean().sqrt() - 1).square(),
    }


def vary_codes(codes: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """Codes (B, h, w) in [-1, 1], half of the images' as other methods would code that depth.

    Those are stretched to the whole range and bent by a power, so that one autoencoder serves
    logarithm, depth and disparity normalised per image alike.
    """
    unit = (codes + 1) / 2
    low = unit.where(known, 1).amin(dim=(1, 2), keepdim=True)
    high = unit.where(known, 0).amax(dim=(1, 2), keepdim=True)
    bend, choice = torch.rand((2, len(codes), 1, 1), generator=generator, device=generator.device)
    stretched = ((unit - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
    bent = stretched ** torch.exp(2 * bend - 1).to(codes.device)
    return torch.where(choice.to(codes.device) < 0.5, 2 * bent - 1, codes)


def _half_window(
    size: torch.Size, multiple: int, generator: torch.Generator
) -> tuple[slice, slice]:
    """A random window of about half the height and width: reconstruction is a local matter."""
    slices = []
    for side in size:
        half = max(multiple, side // 2 // multiple * multiple)
        places = (side - half) // multiple + 1
        place = torch.randint(places, (), generator=generator, device=generator.device).item()
        slices.append(slice(int(place) * multiple, int(place) * multiple + half))
    return slices[0], slices[1]


def supervised_depth(batch: Batch, config: MetricGoldConfig) -> tuple[Tensor, Tensor]:
    """(B, h, w) bool, pixels that take part in the loss, and (B, h, w) metres along z.

    With clip_sky everything beyond `far` is supervised at `far`, without it left out. Elsewhere
    the depth is `far`: the autoencoder needs some, and the far end of the code is what borders on
    most holes.
    """
    depth = batch.ray_distance * batch.rays[:, 2]
    if config.clip_sky:
        known = batch.inside & (batch.valid | batch.ray_distance.isposinf())
    else:
        known = batch.inside & batch.valid & (depth <= config.far)
    return known, depth.where(known, config.far).clamp(config.near, config.far)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)

"""BetterDepth's objective: refine a coarse depth that is nearly right (Section 3.3, Algorithm 1).

The coarse depth is fitted to the truth as a whole (Eq. 3), and patches where the two still differ
do not count (Eq. 4-6). What is left to learn is detail: the denoiser stays with the coarse depth
elsewhere, rather than with what it knows of its few training scenes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...alignment import align_scale_shift
from ...errors import MetricDepthError
from ...methods.betterdepth import BetterDepth, CodeRange
from ..batch import Batch


def loss(method: BetterDepth, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch: Eq. 6.

    Latents whose cell has any pixel without ground truth do not count, as those of dissimilar
    patches do not.

    Returns:
        'loss', what to minimise; 'kept', the share of the latents with truth that counts.

    Raises:
        MetricDepthError: the batch has no coarse depth.
    """
    latent = method.latent
    truth, coarse, known, similar = coded(method, batch)
    with torch.no_grad():
        condition, data = method.condition(batch.image, coarse), latent.encode_depth(truth)
    device = data.device
    t = torch.randint(
        latent.num_train_steps, (len(data),), generator=generator, device=generator.device
    ).to(device)
    noise = torch.randn(data.shape, generator=generator, device=generator.device)
    noise = noise.to(device, data.dtype)
    output = latent.predict(latent.add_noise(data, noise, t), t, condition)
    error = (output.float() - latent.target(data, noise, t).float()).square()
    whole = -F.max_pool2d(-known[:, None].float(), latent.stride)
    mask = whole * F.max_pool2d(similar[:, None].float(), latent.stride)
    return {
        'loss': (error * mask).sum() / (mask.sum() * error.shape[1]).clamp(min=1),
        'kept': mask.sum() / whole.sum().clamp(min=1),
    }


@torch.no_grad()
def coded(method: BetterDepth, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The truth and the coarse depth of a batch as the network sees them, (B, h, w) each.

    The truth's own percentiles are the range of both; of the coarse depth only if it is fitted
    to the truth. Sky is as far as can be.

    Returns:
        codes in [-1, 1] of the truth and of the coarse depth; bool, pixels with truth; bool, M of
        Eq. 5, patches where the two are alike.

    Raises:
        MetricDepthError: the batch has no coarse depth, or a relative one of another quantity.
    """
    config, given = method.config, batch.coarse
    if given is None:
        raise MetricDepthError(
            'BetterDepth learns to refine a coarse depth, but the batch has none: name one under '
            '`coarse` in the recipe'
        )
    known = batch.inside & (batch.valid | batch.ray_distance.isposinf())
    depth = torch.where(known, batch.ray_distance * batch.rays[:, 2], config.far)
    truth, coarse = method.quantity(depth), method.coarse_quantity(given)
    both = batch.valid & coarse.isfinite()
    if config.pre_align:
        coarse = pre_aligned(coarse, truth, both)
    seen = batch.inside & coarse.isfinite()
    span = CodeRange.of(truth, known)
    own = span if config.pre_align else CodeRange.of(coarse, seen)
    truth_codes = method.fill(span.encode(truth), known)
    coarse_codes = method.fill(own.encode(coarse), seen)
    similar = torch.ones_like(known)
    if config.patch_mask:
        compared = known & seen
        similar = patch_mask(coarse_codes, truth_codes, compared, config.patch, config.tolerance)
    return truth_codes, coarse_codes, known, similar


def pre_aligned(coarse: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """s coarse + b of each image (B, h, w), with s and b of least squares where mask: Eq. 3.

    NaN where the coarse depth is, and everywhere in an image whose mask is empty.
    """
    rows = align_scale_shift(coarse.flatten(1), truth.flatten(1), mask.flatten(1).float())
    return rows.view_as(coarse)


def patch_mask(
    coarse: Tensor, truth: Tensor, known: Tensor, patch: int, tolerance: float
) -> Tensor:
    """M of Eq. 5, (B, h, w) bool: patches whose Euclidean distance (Eq. 4) is within w * eta.

    That is, whose root mean square difference is within eta. In patches with pixels that are not
    known it is that of the others; those without a known pixel do not count.
    """
    squares = torch.where(known, coarse - truth, 0).square()
    total, count = (
        F.avg_pool2d(x[:, None].float(), patch, ceil_mode=True, divisor_override=1)
        for x in (squares, known)
    )
    # as a mean: a whole patch of differences of just eta must not fail by rounding
    similar = (count > 0) & (total <= count * tolerance**2 * (1 + 1e-5))
    pixels = similar.repeat_interleave(patch, dim=-2).repeat_interleave(patch, dim=-1)
    return pixels[:, 0, : truth.shape[-2], : truth.shape[-1]]

"""How good a method is on frames it was never trained on, and how far its spread is to be trusted.

Held-out frames are rendered with textures, layouts and fields of view that training never shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..calibration import Calibration, fit_calibration, spread
from ..evaluation.metrics import PLAIN, Scores, best_constant, mean_scores, row_means
from ..predictor import middle
from ..types import Conditioning, DepthMethod
from .data import FramePool

NUM_SAMPLES = 4
CURVE_FRAMES = 32
_PIXELS_PER_FRAME = 512  # enough to fit two numbers, few enough to keep


@dataclass(frozen=True)
class HeldOutReport:
    """Scores on held-out frames that neither training nor calibration saw.

    constant, rows: of the best constant and of the best depth per image row, both told the truth
    of these very frames. coverage: share of errors within one and within two sigma.
    """

    frames: int
    model: Scores
    constant: Scores
    rows: Scores
    coverage: tuple[float, float]


@dataclass(frozen=True)
class HeldOutFrame:
    """depth, spread, truth: (h, w) metres along z; truth is NaN where there is none."""

    depth: Tensor
    spread: Tensor
    truth: Tensor


def predict(
    method: DepthMethod, pool: FramePool, index: range, *, seed: int
) -> Iterator[HeldOutFrame]:
    """The frames `index` of the pool, predicted one by one where the method's weights are."""
    device = next(method.parameters()).device  # type: ignore[attr-defined]
    for i in index:
        batch = pool.batch([i], device=device)
        conditioning = Conditioning(batch.image[0], batch.rays[0], batch.inside[0])
        generator = torch.Generator(device).manual_seed(seed)
        with torch.inference_mode():
            samples = method.draw(conditioning, NUM_SAMPLES, generator)
        depth = middle(samples)
        truth = torch.where(batch.valid, batch.ray_distance * batch.rays[:, 2], torch.nan)[0]
        yield HeldOutFrame(depth.cpu(), spread(depth, samples).cpu(), truth.cpu())


def validate(method: DepthMethod, pool: FramePool, *, seed: int) -> dict[str, float]:
    """AbsRel and delta1 on the first few frames: a point of the training curve."""
    was_training = method.training  # type: ignore[attr-defined]
    method.eval()  # type: ignore[attr-defined]
    frames = predict(method, pool, range(min(CURVE_FRAMES, len(pool))), seed=seed)
    scores = mean_scores([PLAIN.score(frame.depth, frame.truth) for frame in frames])
    method.train(was_training)  # type: ignore[attr-defined]
    return {'abs_rel': scores.abs_rel, 'delta1': scores.delta1}


def calibrate(
    method: DepthMethod, pool: FramePool, *, seed: int
) -> tuple[Calibration, HeldOutReport]:
    """Fit the error bar on the first half of the pool and judge everything on the second."""
    half = len(pool) // 2
    generator = torch.Generator().manual_seed(seed)
    pixels = [_pixels(frame, generator) for frame in predict(method, pool, range(half), seed=seed)]
    depth, deviation, truth = torch.cat(pixels, dim=1)
    calibration = fit_calibration(depth, deviation, truth)

    frames = list(predict(method, pool, range(half, len(pool)), seed=seed))
    truths = [frame.truth for frame in frames]
    constant, rows = best_constant(truths), row_means(truths)
    pixels = [_pixels(frame, generator) for frame in frames]
    depth, deviation, truth = torch.cat(pixels, dim=1)
    std = torch.hypot(calibration.std_scale * deviation, calibration.std_floor * depth)
    sigmas = (depth - truth).abs() / std

    def scored(predictions: list[Tensor]) -> Scores:
        return mean_scores([PLAIN.score(p, t) for p, t in zip(predictions, truths, strict=True)])

    return calibration, HeldOutReport(
        frames=len(frames),
        model=scored([frame.depth for frame in frames]),
        constant=scored([torch.full_like(t, constant) for t in truths]),
        rows=scored([rows[:, None].expand_as(t) for t in truths]),
        coverage=(float((sigmas <= 1).float().mean()), float((sigmas <= 2).float().mean())),
    )


def _pixels(frame: HeldOutFrame, generator: torch.Generator) -> Tensor:
    """(3, n) depth, spread and truth of a random few pixels that have all three."""
    stacked = torch.stack((frame.depth, frame.spread, frame.truth)).flatten(1)
    usable = torch.isfinite(stacked).all(0).nonzero()[:, 0]
    chosen = torch.randperm(len(usable), generator=generator)[:_PIXELS_PER_FRAME]
    return stacked[:, usable[chosen]]

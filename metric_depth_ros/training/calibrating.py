"""The error bar of a trained method: fitted on frames that it never saw, judged on others.

How wide it is on frames of the usual kind comes from such frames as they are, and how much wider
on what the method does not know from some that are spoiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..calibration import (
    ONE_SIGMA,
    Calibration,
    edges,
    fit_calibration,
    fit_novelty_powers,
)
from ..novelty import Novelty, describe, fit_gaussian
from ..types import Conditioning, DepthMethod
from .augment import augment
from .coarse import MakeCoarse
from .data import FramePool
from .recipe import Augmentation
from .schedule import seed_of
from .validation import HeldOutFrame, HeldOutReport, fitting, predict, report, some_pixels

_LOOKS = 4  # at each frame, augmented otherwise every time, to tell what is usual
_SPOILED = 4  # one frame in so many is also seen spoiled


@dataclass(frozen=True)
class Calibrated:
    """The error bar, and what it says of frames that no fit has seen.

    frames: those, predicted, for what else is to be said of them.
    """

    calibration: Calibration
    novelty: Novelty
    report: HeldOutReport
    frames: list[HeldOutFrame]


def calibrate(
    method: DepthMethod,
    pool: FramePool,
    *,
    seed: int,
    coarse: MakeCoarse | None = None,
    augmentation: Augmentation | None = None,
) -> Calibrated:
    """Fit the error bar on every other frame of the pool and judge everything on the rest.

    Args:
        augmentation: what the method was trained with, which is usual to it.
    """
    generator = torch.Generator().manual_seed(seed)
    fitted, judged = range(0, len(pool), 2), range(1, len(pool), 2)
    novelty = fit_novelty(method, pool, fitted, augmentation or Augmentation(), seed=seed)

    def predicted(index: Sequence[int], *, spoiled: bool = False) -> list[HeldOutFrame]:
        return list(
            predict(
                method, pool, index, seed=seed, coarse=coarse, novelty=novelty, spoiled=spoiled
            )
        )

    clean, spoiled = predicted(fitted), predicted(fitted[::_SPOILED], spoiled=True)
    plain = _fit(clean, Calibration(), generator)
    picture, features = _powers([*clean, *spoiled], plain)
    heeding = replace(plain, novelty_picture=picture, novelty_features=features)
    calibration = _fit(clean, heeding, generator)
    frames = predicted(judged)
    others = predicted(judged[::_SPOILED], spoiled=True)
    made = report(frames, calibration, generator, spoiled=others)
    return Calibrated(calibration, novelty, made, frames)


def fit_novelty(
    method: DepthMethod,
    pool: FramePool,
    index: Sequence[int],
    augmentation: Augmentation,
    *,
    seed: int,
) -> Novelty:
    """What is usual: the frames `index` of the pool as training would show them, without bars."""
    largest = max(1.0, augmentation.resize[1])
    filling = replace(augmentation, resize=(1.0, largest))
    device = next(method.parameters()).device  # type: ignore[attr-defined]
    described = []
    for look in range(_LOOKS):
        for i in index:
            of_frame = torch.Generator().manual_seed(seed_of(seed, 'usual', look, i))
            batch = pool.batch([i], device=device)
            height, width = batch.valid.shape[-2:]
            batch = augment(batch, width, height, filling, of_frame)
            conditioning = Conditioning(batch.image[0], batch.rays[0], batch.inside[0])
            with torch.inference_mode():
                described.append(describe(method, fitting(conditioning, method.multiple_of)))
    return Novelty(*(fit_gaussian(torch.stack(kind)) for kind in zip(*described, strict=True)))


def _fit(
    frames: Sequence[HeldOutFrame], heeding: Calibration, generator: torch.Generator
) -> Calibration:
    """Fitted to the frames, with the novelty powers of `heeding`."""
    pixels = []
    for frame in frames:
        values = [frame.spread, edges(frame.depth)]
        values.append(torch.full_like(frame.depth, heeding.widening(frame.novelty)))
        values += [] if frame.disagreement is None else [frame.disagreement]
        pixels.append(some_pixels(frame, values, generator))
    depth, spread, edge, widening, *rest, truth = torch.cat(pixels, dim=1)
    fit = fit_calibration(depth, spread, edge, truth, *rest, widening=widening)
    return replace(
        fit,
        novelty_picture=heeding.novelty_picture,
        novelty_features=heeding.novelty_features,
        fitted_over=frames[0].coarse_model,
    )


def _powers(frames: Sequence[HeldOutFrame], plain: Calibration) -> tuple[float, float]:
    """How the errors of frames, in sigmas of `plain`, grow with their novelty."""
    novelties: list[Tensor] = []
    sigmas: list[Tensor] = []
    for frame in frames:
        std = plain.of_spread(frame.depth, frame.spread, frame.disagreement)
        error = ((frame.depth - frame.truth).abs() / std).flatten()
        error = error[error.isfinite()]
        if frame.novelty is not None and len(error):
            novelties.append(frame.novelty)
            sigmas.append(error.quantile(ONE_SIGMA))
    return fit_novelty_powers(torch.stack(novelties), torch.stack(sigmas))

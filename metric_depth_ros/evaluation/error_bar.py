"""Fit a model's error bar on held-out frames of any set, and keep it in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import checkpoint, geometry
from ..calibration import ONE_SIGMA, Calibration, disagreement, edges, fit_calibration, spread
from ..errors import MetricDepthError
from ..predictor import Predictor, combined
from ..types import CoarseDepth
from .datasets import Sample
from .evaluation import Unscored
from .frame_sets import FrameSet
from .metrics import PLAIN, UncertaintyScores, score_uncertainty

_PIXELS_PER_FRAME = 2048  # enough to fit a few numbers, few enough to keep
_FEWEST_FRAMES = 2


class ErrorBarError(MetricDepthError):
    """An error bar that cannot be fitted."""


@dataclass(frozen=True)
class ErrorBarFit:
    """before, after: the old and the new error bar on the judged frames, that no fit has seen."""

    calibration: Calibration
    before: UncertaintyScores
    after: UncertaintyScores
    fitted_on: int
    judged_on: int
    unused: tuple[Unscored, ...]

    @property
    def is_better(self) -> bool:
        """Whether the new one is nearer to 68 % within one sigma on the judged frames."""
        before, after = (abs(s.coverage_1 - ONE_SIGMA) for s in (self.before, self.after))
        return after < before


def fit_error_bar(
    predictor: Predictor,
    sets: Sequence[FrameSet],
    *,
    progress: Callable[[], None] | None = None,
) -> ErrorBarFit:
    """Fit on every other usable frame, judge on the rest.

    Raises:
        ErrorBarError: the model draws once only, which has no spread, or frames are too few.
    """
    if predictor.num_samples < 2:
        raise ErrorBarError(
            f'num_samples is {predictor.num_samples}, expected 2 or more: an error bar is fitted '
            'to the spread of the draws'
        )
    generator = torch.Generator().manual_seed(predictor.seed)
    unused: list[Unscored] = []
    drawn = [_draw(predictor, sample, generator) for sample in _usable(sets, unused, progress)]
    if len(drawn) < _FEWEST_FRAMES:
        why = f': {unused[0].name}: {unused[0].reason}' if unused else ''
        raise ErrorBarError(
            f'{len(drawn)} frames with true depth, expected {_FEWEST_FRAMES} or more{why}'
        )
    depth, widths, edge, truth, differs, widening = torch.cat(
        [f.pixels for f in drawn[::2]], dim=1
    )
    refines, before = predictor.coarse is not None, predictor.calibration
    calibration = fit_calibration(
        depth, widths, edge, truth, differs if refines else None, widening=widening
    )
    # How errors grow with novelty, frames of one kind do not tell: that stays.
    calibration = replace(
        calibration,
        novelty_picture=before.novelty_picture,
        novelty_features=before.novelty_features,
        fitted_over='' if predictor.coarse is None else predictor.coarse.name,
    )
    judged = drawn[1::2]
    return ErrorBarFit(
        calibration,
        _judge(before, judged),
        _judge(calibration, judged),
        len(drawn) - len(judged),
        len(judged),
        tuple(unused),
    )


def save_calibrated(
    folder: Path, model: str | Path, calibration: Calibration, *, scale: float | None = None
) -> None:
    """Write a checkpoint like that of `model` (with this `scale`), with this error bar."""
    loaded = checkpoint.load(model, scale=scale)
    checkpoint.save(folder, loaded.method, replace(loaded.card, calibration=calibration))


@dataclass(frozen=True)
class _Drawn:
    """What the fit needs of a frame.

    pixels: (6, n) depth, spread, edge, truth, disagreement and widening of some pixels of the
        image.
    depth, spread, differs: (h, w) at the size the model works at. at: (n, 2) pixels of it.
    novelty: (2,); None if the model does not know. coarse: (h, w), what it refined.
    """

    pixels: Tensor
    depth: Tensor
    spread: Tensor
    differs: Tensor
    at: Tensor
    novelty: Tensor | None
    coarse: CoarseDepth | None


def _usable(
    sets: Iterable[FrameSet], unused: list[Unscored], progress: Callable[[], None] | None
) -> Iterator[Sample]:
    for frames in sets:
        for file in frames:
            try:
                sample = file.read()
                if bool(PLAIN.valid(sample.depth).any()):
                    yield sample
                else:
                    unused.append(Unscored(file.name, 'no true depth that counts'))
            except (MetricDepthError, OSError) as error:
                unused.append(Unscored(file.name, ' '.join(str(error).split())))
            if progress is not None:
                progress()


@torch.inference_mode()
def _draw(predictor: Predictor, sample: Sample, generator: torch.Generator) -> _Drawn:
    frame = sample.frame
    view = predictor.view_camera(frame.camera)
    conditioning = predictor.condition(frame, view)
    samples = predictor.draw(conditioning)
    depth = combined(predictor.method, samples)
    coarse = conditioning.coarse
    differs = disagreement(depth, coarse).float().cpu()
    widths = spread(depth, samples).float().cpu()
    depth = depth.float().cpu()
    known = PLAIN.valid(sample.depth).nonzero()
    chosen = known[torch.randperm(len(known), generator=generator)[:_PIXELS_PER_FRAME]]
    at = geometry.view_pixels(view, frame.camera)[chosen[:, 0], chosen[:, 1]]
    truth = sample.depth[chosen[:, 0], chosen[:, 1]]
    carried, width = geometry.resample_depth(depth, widths, at)
    _, edge = geometry.resample_depth(depth, edges(depth), at)
    _, difference = geometry.resample_depth(depth, differs, at)
    novelty = predictor.novelty_of(conditioning)
    widening = torch.full_like(carried, predictor.calibration.widening(novelty))
    pixels = torch.stack((carried, width, edge, truth, difference, widening))
    usable = torch.isfinite(pixels).all(0)
    return _Drawn(pixels[:, usable], depth, widths, differs, at[usable], novelty, coarse)


def _judge(calibration: Calibration, frames: Sequence[_Drawn]) -> UncertaintyScores:
    stds = []
    for frame in frames:
        std = calibration.of_spread(frame.depth, frame.spread, frame.differs, frame.novelty)
        std = calibration.over(std, frame.coarse)
        stds.append(geometry.resample_depth(frame.depth, std, frame.at)[1])
    pixels = torch.cat([frame.pixels for frame in frames], dim=1)
    std = torch.cat(stds)
    known = torch.isfinite(std)
    return score_uncertainty(pixels[0, known], std[known], pixels[3, known])

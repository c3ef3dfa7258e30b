"""How good a method is on frames it was never trained on, and how far its spread is to be trusted.

Held-out frames are rendered with textures, layouts and fields of view that training never shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..calibration import Calibration, disagreement, spread
from ..evaluation.metrics import (
    PLAIN,
    Scores,
    UncertaintyScores,
    best_constant,
    mean_scores,
    row_means,
    score_uncertainty,
)
from ..novelty import Novelty
from ..predictor import combined
from ..types import Conditioning, DepthMethod
from .coarse import MakeCoarse
from .data import FramePool
from .schedule import seed_of
from .spoil import spoil

NUM_SAMPLES = 4
CURVE_FRAMES = 32
CURVE_SHARE = 0.1  # of the pixels: as good for a mean, and several times as fast
RANGES_M = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, math.inf)
# A room has windows, and a street has walls: on rendered frames this tells 98 of 100 apart.
OPEN_FROM_M, OPEN_SHARE = 20.0, 0.125
# Limits of lens_deviation: rays that were rounded to be stored, and the strongest of ordinary
# lenses. A fisheye of less than about 55 degrees bends no more than those.
_PINHOLE, _ORDINARY_LENS = 5e-4, 0.025
_PIXELS_PER_FRAME = 512  # enough to fit a few numbers, few enough to keep


@runtime_checkable
class Regresses(Protocol):
    """A method with a part that says a depth without any diffusion."""

    def regress(self, conditioning: Conditioning) -> Tensor | None:
        """(h, w) metres along z; None if this one was made without that part."""
        ...


@dataclass(frozen=True)
class Part:
    """Scores of what some of the frames, or of their pixels, have in common.

    frames: how many frames have any of it.
    """

    name: str
    frames: int
    scores: Scores


@dataclass(frozen=True)
class HeldOutReport:
    """Scores on held-out frames that neither training nor calibration saw.

    constant, rows: of the best constant and of the best depth per image row, both told the truth
        of these very frames.
    regression: of the method's regression head alone; None if it has none.
    by_fov: frames, in thirds. by_lens: frames. by_place: frames indoors and outdoors.
    by_range: pixels of all frames, by their true depth.
    spoiled, spoiled_unheeded: of the error bar on frames that were spoiled, see spoil.py, and of
        one that does not heed their novelty; None if there were none.
    """

    frames: int
    model: Scores
    constant: Scores
    rows: Scores
    regression: Scores | None
    by_fov: tuple[Part, ...]
    by_lens: tuple[Part, ...]
    by_place: tuple[Part, ...]
    by_range: tuple[Part, ...]
    uncertainty: UncertaintyScores
    spoiled: UncertaintyScores | None = None
    spoiled_unheeded: UncertaintyScores | None = None


@dataclass(frozen=True)
class HeldOutFrame:
    """One predicted frame.

    depth, spread, truth, regression: (h, w) metres along z; truth is NaN where there is none.
    coarse: (h, w) metres that were refined; None if the method refines none, or no metres.
    disagreement: (h, w) metres, with the coarse depth; None if the method refines none.
    coarse_model: name of the model that said what was refined; '' if none did.
    fov_deg: horizontal field of view. lens: 'pinhole', 'distorted' or 'fisheye'.
    outdoor: see looks_outdoors. novelty: (2,), of Novelty.of; None for none.
    """

    depth: Tensor
    spread: Tensor
    truth: Tensor
    regression: Tensor | None
    fov_deg: float
    lens: str
    outdoor: bool
    coarse: Tensor | None = None
    disagreement: Tensor | None = None
    novelty: Tensor | None = None
    coarse_model: str = ''


def predict(
    method: DepthMethod,
    pool: FramePool,
    index: Sequence[int],
    *,
    seed: int,
    share: float = 1.0,
    num_samples: int = NUM_SAMPLES,
    coarse: MakeCoarse | None = None,
    novelty: Novelty | None = None,
    spoiled: bool = False,
) -> Iterator[HeldOutFrame]:
    """The frames `index` of the pool, predicted one by one where the method's weights are.

    Args:
        share: of the pixels, chosen at random; the others have no depth. Ignored by methods that
            predict whole images only.
        coarse: what a refiner refines, see make_coarse.
        novelty: what is usual to the method.
        spoiled: the images are, see spoil.py.
    """
    device = next(method.parameters()).device  # type: ignore[attr-defined]
    targets: Tensor | None = None
    for i in index:
        batch = pool.batch([i], device=device)
        if spoiled:
            of_frame = torch.Generator().manual_seed(seed_of(seed, 'spoil', i))
            batch = replace(batch, image=spoil(batch.image[0], of_frame)[None])
        given = None
        if coarse is not None:
            of_frame = torch.Generator().manual_seed(seed_of(seed, 'coarse', i))
            said = coarse(batch, of_frame)
            given = replace(said, values=said.values[0])
        conditioning = fitting(
            Conditioning(batch.image[0], batch.rays[0], batch.inside[0], given), method.multiple_of
        )
        generator = torch.Generator(device).manual_seed(seed)
        if share < 1 and method.takes_targets:
            shape = conditioning.valid.shape
            targets = torch.rand(shape, generator=generator, device=device) < share
        with torch.inference_mode():
            samples = method.draw(conditioning, num_samples, generator, targets=targets)
            regression = method.regress(conditioning) if isinstance(method, Regresses) else None
        h, w = batch.inside.shape[-2:]
        samples = samples[:, :h, :w]
        regression = None if regression is None else regression[:h, :w]
        depth = combined(method, samples)
        truth = torch.where(batch.valid, batch.ray_distance * batch.rays[:, 2], torch.nan)[0]
        yield HeldOutFrame(
            depth=depth.cpu(),
            spread=spread(depth, samples).cpu(),
            coarse=given.values.cpu() if given is not None and given.metric else None,
            disagreement=None if given is None else disagreement(depth, given).cpu(),
            truth=truth.cpu(),
            regression=None if regression is None else regression.cpu(),
            fov_deg=field_of_view_deg(batch.rays[0]),
            lens=lens_name(batch.rays[0]),
            outdoor=looks_outdoors(batch.ray_distance[0], batch.inside[0]),
            novelty=None if novelty is None else novelty.of(method, conditioning),
            coarse_model='' if given is None else given.model,
        )


def fitting(conditioning: Conditioning, multiple_of: int) -> Conditioning:
    """With pixels that are not valid on the right and below, as many as the method needs."""
    h, w = conditioning.valid.shape
    border = (0, -w % multiple_of, 0, -h % multiple_of)
    coarse = conditioning.coarse
    if coarse is not None:
        coarse = replace(coarse, values=F.pad(coarse.values, border, value=torch.nan))
    image, rays = F.pad(conditioning.image, border), F.pad(conditioning.rays, border)
    return Conditioning(image, rays, F.pad(conditioning.valid, border), coarse)


def validate(
    method: DepthMethod,
    pool: FramePool,
    *,
    seed: int,
    training: Sequence[FramePool] = (),
    coarse: MakeCoarse | None = None,
) -> dict[str, float]:
    """A point of the training curve: AbsRel and delta1 on a few held-out frames.

    With the pools that are trained on, `train_abs_rel` on a few of their frames, as they are, too:
    what lies between the two is not for lack of capacity or of time.
    """
    was_training = method.training  # type: ignore[attr-defined]
    method.eval()  # type: ignore[attr-defined]

    def scored(pools: Sequence[FramePool]) -> Scores:
        pairs = []
        for frames in pools:
            step = -(-len(frames) * len(pools) // CURVE_FRAMES)
            few = range(0, len(frames), step)
            predicted = predict(method, frames, few, seed=seed, share=CURVE_SHARE, coarse=coarse)
            pairs += [(f.depth, f.truth) for f in predicted if _has_truth(f.truth)]
        return _mean(pairs)

    scores = scored([pool])
    values = {'abs_rel': scores.abs_rel, 'delta1': scores.delta1}
    if training:
        values['train_abs_rel'] = scored(training).abs_rel
    method.train(was_training)  # type: ignore[attr-defined]
    return values


def report(
    frames: Sequence[HeldOutFrame],
    calibration: Calibration,
    generator: torch.Generator,
    *,
    spoiled: Sequence[HeldOutFrame] = (),
) -> HeldOutReport:
    """Everything about those of `frames` that have any truth, at least one.

    Args:
        generator: chooses the pixels that the error bar is judged on.
        spoiled: other frames, whose images were.
    """
    frames = [frame for frame in frames if _has_truth(frame.truth)]
    spoiled = [frame for frame in spoiled if _has_truth(frame.truth)]
    unheeded = [replace(frame, novelty=None) for frame in spoiled]
    truths = [frame.truth for frame in frames]
    constant, rows = best_constant(truths), row_means(truths)
    regressions = [(f.regression, f.truth) for f in frames if f.regression is not None]
    thirds = torch.tensor([f.fov_deg for f in frames]).quantile(torch.tensor([1 / 3, 2 / 3]))
    low, high = thirds.tolist()
    return HeldOutReport(
        frames=len(frames),
        model=_mean([(f.depth, f.truth) for f in frames]),
        constant=_mean([(torch.full_like(t, constant), t) for t in truths]),
        rows=_mean([(rows[:, None].expand_as(t), t) for t in truths]),
        regression=_mean(regressions) if regressions else None,
        by_fov=(
            *_part(f'below {low:.0f} degrees', frames, lambda f: f.fov_deg < low),
            *_part(f'{low:.0f} to {high:.0f} degrees', frames, lambda f: low <= f.fov_deg <= high),
            *_part(f'above {high:.0f} degrees', frames, lambda f: f.fov_deg > high),
        ),
        by_lens=(
            *_part('pinhole', frames, lambda f: f.lens == 'pinhole'),
            *_part('distorted', frames, lambda f: f.lens == 'distorted'),
            *_part('fisheye', frames, lambda f: f.lens == 'fisheye'),
        ),
        by_place=(
            *_part('indoor', frames, lambda f: not f.outdoor),
            *_part('outdoor', frames, lambda f: f.outdoor),
        ),
        by_range=_by_range(frames),
        uncertainty=_uncertainty(frames, calibration, generator),
        spoiled=_uncertainty(spoiled, calibration, generator) if spoiled else None,
        spoiled_unheeded=_uncertainty(unheeded, calibration, generator) if spoiled else None,
    )


def _uncertainty(
    frames: Sequence[HeldOutFrame], calibration: Calibration, generator: torch.Generator
) -> UncertaintyScores:
    pixels = []
    for f in frames:
        std = calibration.of_spread(f.depth, f.spread, f.disagreement, f.novelty)
        pixels.append(some_pixels(f, [std], generator))
    return score_uncertainty(*torch.cat(pixels, dim=1))


def looks_outdoors(ray_distance: Tensor, inside: Tensor) -> bool:
    """Whether the view is open: OPEN_SHARE of it or more is sky or beyond OPEN_FROM_M.

    Args:
        ray_distance: (h, w) metres, +inf where there is sky. inside: (h, w) bool, has a ray.
    """
    known = inside & ~torch.isnan(ray_distance)
    far = known & (ray_distance > OPEN_FROM_M)
    return bool(far.sum() >= OPEN_SHARE * known.sum())


def field_of_view_deg(rays: Tensor) -> float:
    """Angle between the outermost of the rays (3, h, w) of the middle row; 0 is no ray."""
    row = rays[:, rays.shape[1] // 2]
    row = row[:, row[2] > 0]
    if not row.shape[1]:
        return 0.0
    return math.degrees(math.acos(max(-1.0, min(1.0, float(row[:, 0] @ row[:, -1])))))


def lens_deviation(rays: Tensor) -> float:
    """How far rays (3, h, w) are from those of any pinhole, as a share of the image's extent.

    Of a pinhole x / z and y / z are affine in the pixel; this is the root mean square of what the
    best such fit leaves over. Rays more than 87 degrees off the axis are left out.
    """
    _, height, width = rays.shape
    rays = rays.to('cpu', torch.float64)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    seen = rays[2] > 0.05
    pixels = torch.stack((column / width, row / width, torch.ones(height, width)), dim=-1)[seen]
    plane = (rays[:2] / rays[2])[:, seen].T
    pixels = pixels.to(plane.dtype)
    rest = plane - pixels @ torch.linalg.lstsq(pixels, plane).solution
    return float(rest.square().sum(1).mean().sqrt() / plane.std(dim=0).norm())


def lens_name(rays: Tensor) -> str:
    """'pinhole', 'distorted' or 'fisheye', by lens_deviation."""
    deviation = lens_deviation(rays)
    if deviation < _PINHOLE:
        return 'pinhole'
    return 'distorted' if deviation < _ORDINARY_LENS else 'fisheye'


def _mean(pairs: Sequence[tuple[Tensor, Tensor]]) -> Scores:
    """Of (depth, truth), each (h, w)."""
    return mean_scores([PLAIN.score(d, t) for d, t in pairs])


def _has_truth(truth: Tensor) -> bool:
    return bool(PLAIN.valid(truth).any())


def _part(
    name: str, frames: Sequence[HeldOutFrame], belongs: Callable[[HeldOutFrame], bool]
) -> tuple[Part, ...]:
    """The Part of the frames that belong, or nothing if there are none."""
    pairs = [(f.depth, f.truth) for f in frames if belongs(f)]
    return (Part(name, len(pairs), _mean(pairs)),) if pairs else ()


def _by_range(frames: Sequence[HeldOutFrame]) -> tuple[Part, ...]:
    """Pixels of all frames alike: of some ranges a frame may have a handful."""
    depth = torch.cat([f.depth.flatten() for f in frames])
    truth = torch.cat([f.truth.flatten() for f in frames])
    parts = []
    for near, far in itertools.pairwise(RANGES_M):
        within = truth.where((near <= truth) & (truth < far), torch.nan)
        if not _has_truth(within):
            continue
        count = sum(bool(((near <= f.truth) & (f.truth < far)).any()) for f in frames)
        name = f'{near:.0f} to {far:.0f} m' if math.isfinite(far) else f'beyond {near:.0f} m'
        parts.append(Part(name, count, PLAIN.score(depth, within)))
    return tuple(parts)


def some_pixels(
    frame: HeldOutFrame, values: Sequence[Tensor], generator: torch.Generator
) -> Tensor:
    """(2 + len(values), n) depth, values and truth of a random few pixels that have them all."""
    truth = frame.truth.where(PLAIN.valid(frame.truth), torch.nan)
    stacked = torch.stack((frame.depth, *values, truth)).flatten(1)
    usable = torch.isfinite(stacked).all(0).nonzero()[:, 0]
    chosen = torch.randperm(len(usable), generator=generator)[:_PIXELS_PER_FRAME]
    return stacked[:, usable[chosen]]

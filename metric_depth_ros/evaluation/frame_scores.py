"""What evaluation keeps of a frame: its scores, and few enough of its pixels to keep them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from ..alignment import ALIGNMENTS
from ..types import Camera
from .protocols import Protocol
from .scores import MetricsError, Scores

# About this many pixels of a frame: plenty for curves and baselines, and long sets fit in memory.
_THIN_PIXELS = 5000


@dataclass(frozen=True)
class FrameScores:
    """One predicted frame with true depth.

    scores: by the name of the protocol.
    thin: (3, h, w) float32 prediction, its standard deviation and truth, in metres of what the
        first protocol compares, of every n-th pixel of every n-th row. Truth is NaN where it is
        unknown or does not count.
    """

    scores: dict[str, Scores]
    thin: Tensor


def score_frame(
    depth: Tensor,
    std: Tensor | None,
    truth: Tensor,
    camera: Camera | None,
    protocols: Sequence[Protocol],
) -> FrameScores:
    """Score a frame by every protocol.

    Args:
        depth, std, truth: (H, W) metres along z; std is None where nobody knows it.
        camera: of the frame, for protocols that compare ray distance.
        protocols: at least one; all count the same pixels.

    Raises:
        MetricsError: the sizes differ, or no pixel of the truth counts.
    """
    scores = {protocol.name: protocol.score(depth, truth, camera) for protocol in protocols}
    first = protocols[0]
    if std is None:
        std = torch.full_like(depth, torch.nan)
    maps = torch.stack((depth, std, truth))
    if first.quantity == 'ray_distance' and camera is not None:
        maps = geometry.ray_distance_from_depth(maps, geometry.rays(camera))
    maps[2] = torch.where(first.valid(maps[2]), maps[2], torch.nan)
    return FrameScores(scores, _thinned(maps))


def _thinned(maps: Tensor) -> Tensor:
    stride = max(1, round((maps[0].numel() / _THIN_PIXELS) ** 0.5))
    start = stride // 2
    return maps[:, start::stride, start::stride].float().contiguous()


def comparable(frames: Sequence[FrameScores], protocol: Protocol) -> Tensor:
    """(3, N) prediction, std and truth of all kept pixels that have both depths, metres.

    The prediction is aligned frame by frame and clamped to the range, as `protocol` does it; std
    goes by the same local scale only where nothing is aligned, and is NaN otherwise.
    """
    found = []
    for frame in frames:
        d, s, t = frame.thin.flatten(1)
        known = torch.isfinite(t) & ~torch.isnan(d)
        d, s, t = d[known], s[known], t[known]
        if not len(t):
            continue
        d = torch.where(torch.isinf(d), protocol.max_depth, d)
        if protocol.alignment != 'none':
            d, s = ALIGNMENTS[protocol.alignment](d, t, None), torch.full_like(s, torch.nan)
        found.append(torch.stack((d.clamp(protocol.min_depth, protocol.max_depth), s, t)))
    if not found:
        raise MetricsError('no pixel has both a prediction and true depth')
    return torch.cat(found, dim=1)

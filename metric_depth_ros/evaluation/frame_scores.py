"""What evaluation keeps of a frame: its scores, and few enough of its pixels to keep them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import geometry
from ..alignment import ALIGNMENTS
from ..types import Camera
from .boundaries import BoundaryScores, score_boundaries
from .protocols import Protocol
from .quantity import QuantityEvidence, quantity_evidence
from .scores import MetricsError, Scores

# About this many pixels of a frame: plenty for curves and baselines, and long sets fit in memory.
_THIN_PIXELS = 5000


@dataclass(frozen=True)
class FrameScores:
    """One predicted frame with true depth.

    scores: by the name of the protocol.
    thin: (3, h, w) float32 prediction, its standard deviation and truth, in metres of what the
        first protocol compares, aligned as it does, of every n-th pixel of every n-th row. Truth
        is NaN where it is unknown or does not count.
    quantity: what the frame tells of depth taken for ray distance; None without a camera.
    boundaries: of the whole frame, no crop or range, aligned as the first protocol does; None
        where nobody asked.
    thin_camera: has the pixels of `thin`; None without a camera.
    """

    scores: dict[str, Scores]
    thin: Tensor
    quantity: QuantityEvidence | None = None
    boundaries: BoundaryScores | None = None
    thin_camera: Camera | None = None


def score_frame(
    depth: Tensor,
    std: Tensor | None,
    truth: Tensor,
    camera: Camera | None,
    protocols: Sequence[Protocol],
    *,
    boundaries: bool = False,
    edges: Tensor | None = None,
) -> FrameScores:
    """Score a frame by every protocol.

    Args:
        depth, std, truth: (H, W) metres along z; std is None where nobody knows it.
        camera: of the frame, for protocols that compare ray distance and to tell it from depth.
        protocols: at least one; all count the same pixels.
        boundaries: also how well edges are drawn, which takes longer than all the rest.
        edges: (H, W) bool, labelled depth boundaries, if there are any.

    Raises:
        MetricsError: the sizes differ, or no pixel of the truth counts.
    """
    scores = {protocol.name: protocol.score(depth, truth, camera) for protocol in protocols}
    quantity = None if camera is None else quantity_evidence(depth, truth, camera)
    maps = torch.stack((depth, torch.full_like(depth, torch.nan) if std is None else std, truth))
    drawn = None
    if boundaries:
        shown, _ = aligned(depth, maps[1], truth, protocols[0])
        drawn = score_boundaries(shown, truth, edges)
    if protocols[0].quantity == 'ray_distance' and camera is not None:
        maps = geometry.ray_distance_from_depth(maps, geometry.rays(camera))
    maps[:2] = torch.stack(aligned(maps[0], maps[1], maps[2], protocols[0]))
    maps[2] = torch.where(protocols[0].valid(maps[2]), maps[2], torch.nan)
    thin_camera = None if camera is None else _thinned_camera(camera)
    return FrameScores(scores, _thinned(maps), quantity, drawn, thin_camera)


def aligned(
    depth: Tensor, std: Tensor, truth: Tensor, protocol: Protocol
) -> tuple[Tensor, Tensor]:
    """Depth and std (H, W), metres, as `protocol` compares them with truth (H, W).

    What is aligned has no error bar left: std, which was of other metres, is NaN.
    """
    if protocol.alignment == 'none':
        return depth, std
    counts = protocol.valid(truth).flatten()
    known = torch.where(torch.isinf(depth), protocol.max_depth, depth).flatten()
    fitted = ALIGNMENTS[protocol.alignment](known, truth.flatten(), counts)
    return fitted.reshape(depth.shape), torch.full_like(std, torch.nan)


def _thinned(maps: Tensor) -> Tensor:
    start, stride = _every(maps[0].numel())
    return maps[:, start::stride, start::stride].float().contiguous()


def _thinned_camera(camera: Camera) -> Camera:
    """The camera whose pixels are those that `_thinned` keeps."""
    start, stride = _every(camera.width * camera.height)
    return replace(
        camera,
        fx=camera.fx / stride,
        fy=camera.fy / stride,
        cx=(camera.cx - start) / stride,
        cy=(camera.cy - start) / stride,
        width=len(range(start, camera.width, stride)),
        height=len(range(start, camera.height, stride)),
    )


def _every(pixels: int) -> tuple[int, int]:
    """Which rows and columns of a frame are kept: the first, and every how many-th."""
    stride = max(1, round((pixels / _THIN_PIXELS) ** 0.5))
    return stride // 2, stride


def comparable(frames: Sequence[FrameScores], protocol: Protocol) -> Tensor:
    """(3, N) prediction, std and truth of all kept pixels that have both depths, metres.

    Args:
        frames: scored by `protocol` first; predictions are clamped to its range.

    Raises:
        MetricsError: no pixel has both.
    """
    pixels = [frame.thin.flatten(1) for frame in frames]
    d, s, t = torch.cat([x[:, ~torch.isnan(x[0]) & torch.isfinite(x[2])] for x in pixels], dim=1)
    if not len(t):
        raise MetricsError('no pixel has both a prediction and true depth')
    return torch.stack((d.clamp(protocol.min_depth, protocol.max_depth), s, t))

"""Which pixels count, what is forgiven, and how frames become one number: that of each paper.

Published numbers differ by alignment, cap, crop and pooling, so a protocol's name belongs beside
every number. A crop and a cap belong to a benchmark (Garg's crop makes no sense indoors): a
protocol of PROTOCOLS crops nothing until `on` gives it what its paper does on that benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import EllipsisType

import torch
from torch import Tensor

from .. import geometry
from ..alignment import ALIGNMENTS
from ..types import Camera
from .scores import POOLINGS, MetricsError, Scores, pool_scores, score

# Shares of height and width that count: top, bottom, left, right.
_CROPS = {
    'none': (0.0, 1.0, 0.0, 1.0),
    # Garg et al., "Unsupervised CNN for Single View Depth Estimation" (ECCV 2016), for KITTI
    'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    # Eigen et al. (NIPS 2014), for KITTI
    'eigen': (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    # Eigen et al. (NIPS 2014), for NYUv2: rows 45 to 470, columns 41 to 600 of 640 x 480
    'nyu': (45 / 480, 471 / 480, 41 / 640, 601 / 640),
}
CROPS = tuple(_CROPS)
QUANTITIES = ('depth', 'ray_distance')


def crop_window(crop: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a height x width image that count by `crop`, one of CROPS."""
    top, bottom, left, right = _CROPS[crop]
    # 45 / 480 * 480 may fall a hair below 45
    rows = slice(int(top * height + 1e-6), int(bottom * height + 1e-6))
    return rows, slice(int(left * width + 1e-6), int(right * width + 1e-6))


@dataclass(frozen=True)
class Protocol:
    """A way to judge depth.

    A pixel counts where it lies in the crop and the truth within [min_depth, max_depth] metres.
    The prediction is aligned, with max_depth for +inf (beyond range) and min_depth for -inf, and
    then clamped to that range, as is usual. Where it is NaN the pixel is left out and shows in
    `coverage`.

    Args:
        alignment: of each frame, a name of alignment.ALIGNMENTS.
        min_depth, max_depth: metres.
        crop: one of CROPS.
        pooling: one of scores.POOLINGS.
        source: whose protocol it is, and what of it is our reading.
        quantity: what is compared: 'depth', along z, or 'ray_distance', along the ray, for lenses
            so wide that z-depth says little. What comes in is z-depth in any case.
        kitti_crop: the crop that this protocol takes on KITTI.

    Raises:
        MetricsError: a name is unknown, or the range is empty.
    """

    name: str
    alignment: str = 'none'
    min_depth: float = 0.1
    max_depth: float = 80.0
    crop: str = 'none'
    pooling: str = 'image'
    source: str = ''
    quantity: str = 'depth'
    kitti_crop: str = 'garg'

    def __post_init__(self) -> None:
        for field, known in (
            ('alignment', tuple(ALIGNMENTS)),
            ('crop', CROPS),
            ('kitti_crop', CROPS),
            ('pooling', POOLINGS),
            ('quantity', QUANTITIES),
        ):
            value = getattr(self, field)
            if value not in known:
                raise MetricsError(
                    f'protocol {self.name}: {field} is {value!r}, expected one of '
                    f'{", ".join(known)}'
                )
        if not 0 < self.min_depth < self.max_depth < math.inf:
            raise MetricsError(
                f'protocol {self.name}: {self.min_depth} to {self.max_depth} m, expected a range '
                f'that begins above 0 and ends'
            )

    def describe(self) -> str:
        """What it does, in a few words to print beside numbers."""
        forgiven = {
            'none': 'no alignment',
            'median': 'medians aligned',
            'scale': 'scale aligned',
            'scale_shift': 'scale and shift aligned in depth',
            'scale_shift_disparity': 'scale and shift aligned in disparity',
            'scale_shift_sqrt_disparity': 'scale and shift aligned in square-root disparity',
        }[self.alignment]
        parts = [f'{self.min_depth:g} to {self.max_depth:g} m', forgiven]
        if self.crop != 'none':
            parts.append(f'{self.crop} crop')
        if self.quantity == 'ray_distance':
            parts.append('along the ray')
        parts.append('mean of frames' if self.pooling == 'image' else 'all pixels alike')
        return ', '.join(parts)

    def on(self, benchmark: str) -> Protocol:
        """The protocol with the crop and the range of a benchmark of BENCHMARKS.

        The protocol itself for any other name.
        """
        if benchmark not in BENCHMARKS:
            return self
        crop, min_depth, max_depth = BENCHMARKS[benchmark]
        crop = self.kitti_crop if benchmark == 'kitti' else crop
        return replace(self, crop=crop, min_depth=min_depth, max_depth=max_depth)

    def valid(self, truth: Tensor) -> Tensor:
        """(..., H, W) bool: which pixels of `truth`, metres, count."""
        mask = torch.zeros_like(truth, dtype=torch.bool)
        window = self._window(truth)
        mask[window] = self._in_range(truth[window])
        return mask

    def score(
        self,
        depth: Tensor,
        truth: Tensor,
        camera: Camera | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Scores:
        """Scores of one frame.

        Args:
            depth, truth: (H, W) metres along z; pixels in any shape where nothing is cropped.
            camera: of the frame; needed where ray distance is compared, ignored elsewhere.
            weight: (H, W) how much each pixel counts, or a mask.

        Raises:
            MetricsError: the sizes differ, no pixel of the truth counts, or the camera is missing.
        """
        if depth.shape != truth.shape:
            raise MetricsError(
                f'prediction of shape {tuple(depth.shape)} and truth of shape '
                f'{tuple(truth.shape)}: expected the same'
            )
        if self.quantity == 'ray_distance':
            if camera is None:
                raise MetricsError(f'protocol {self.name} compares ray distance: needs the camera')
            rays = geometry.rays(camera, device=truth.device)
            depth, truth = (geometry.ray_distance_from_depth(x, rays) for x in (depth, truth))
        window = self._window(truth)
        counts = self._in_range(truth[window])
        if weight is not None:
            counts &= weight[window] > 0
        pixels = counts.flatten().nonzero().squeeze(1)
        if not len(pixels):
            raise MetricsError(
                f'no pixel of the truth lies within {self.min_depth} to {self.max_depth} m'
                + (f' and the {self.crop} crop' if self.crop != 'none' else '')
            )
        d, t = (x[window].flatten()[pixels] for x in (depth, truth))
        w = None if weight is None else weight[window].flatten()[pixels]
        d = d.nan_to_num(nan=math.nan, posinf=self.max_depth, neginf=self.min_depth)
        d = ALIGNMENTS[self.alignment](d, t, w).clamp(self.min_depth, self.max_depth)
        return score(d, t, w)

    def pool(self, scores: Sequence[Scores]) -> Scores:
        """One score of many frames.

        Raises:
            MetricsError: there are no scores.
        """
        return pool_scores(scores, self.pooling)

    def _window(self, truth: Tensor) -> tuple[EllipsisType | slice, ...]:
        """The index of what the crop leaves of (..., H, W)."""
        if self.crop == 'none':
            return (...,)
        return (..., *crop_window(self.crop, *truth.shape[-2:]))

    def _in_range(self, truth: Tensor) -> Tensor:
        return (truth >= self.min_depth) & (truth <= self.max_depth)  # False for NaN


# Crop and range that the papers share on a benchmark. On KITTI each takes its own `kitti_crop`.
BENCHMARKS = {
    'kitti': ('garg', 1e-3, 80.0),
    'nyuv2': ('nyu', 1e-3, 10.0),
    'scannet': ('none', 1e-3, 10.0),
    'sunrgbd': ('none', 1e-3, 10.0),
    'ddad': ('none', 1e-3, 200.0),
    'diode': ('none', 0.6, 350.0),
}

# Metric depth is taken at its word. Up to 80 m, as on KITTI.
PLAIN = Protocol('plain', source='ours')
# The same with the scale of each frame forgiven: what is left is the error of shape.
PLAIN_MEDIAN = Protocol('plain-median', 'median', source='ours')

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        PLAIN,
        PLAIN_MEDIAN,
        Protocol('plain-pixel', pooling='pixel', source='ours'),
        Protocol('plain-ray', quantity='ray_distance', source='ours'),
        Protocol(
            'grin',
            source='GRIN, Section 5.3 and Table 1: "the standard evaluation protocol for each of '
            'these benchmarks", without alignment. 80 m elsewhere and Garg on KITTI: our reading',
        ),
        Protocol(
            'grin-relative',
            'median',
            source='GRIN, Section 5.4 and Table 2: "test-time scale alignment". That it is by '
            'medians: our reading',
        ),
        Protocol(
            'sharpdepth',
            source='SharpDepth, Section 5.2 and Tables 1 and 6, rows that are not "GT-aligned". '
            'Caps and crops are not stated: those of UniDepth, its base, are our reading',
        ),
        Protocol(
            'betterdepth',
            'scale_shift_disparity',
            kitti_crop='eigen',
            source='BetterDepth, Section 4.1: evaluation as Marigold, whose KITTI crop is '
            "Eigen's; affine-invariant disparity (Appendix A), so fitted in disparity",
        ),
        Protocol(
            'depthmaster',
            'scale_shift_sqrt_disparity',
            kitti_crop='eigen',
            source='DepthMaster, Section IV-B: splits as Marigold; the fit is in its own '
            'quantity, square-root disparity',
        ),
        Protocol(
            'metricgold',
            max_depth=100.0,
            source='MetricGold claims metric depth without alignment and prints no numbers; '
            '0.1 to 100 m is the range of its code in our reading',
        ),
    )
}

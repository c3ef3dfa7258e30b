"""How well a prediction draws the edges of things: four measures that are easily mixed up.

Two are distances in pixels (less is better), two are shares of edge pixels (more is better):

- `depth_boundary_error`: iBims-1's, against edges that people labelled.
- `pseudo_depth_boundary_error`: SharpDepth's, the same against edges that Canny finds in the
  truth. Not comparable with the first.
- `edge_precision_recall`: Hu et al.'s, as BetterDepth's Table 4: Sobel in metres, exact pixels.
- `boundary_f1`: Depth Pro's, as DepthMaster: ratios of neighbouring depths, blind to scale.

All take z-depth (H, W) in metres, NaN = none, +inf = beyond range. The first three see a jump in
metres, so an affine-invariant prediction has to be aligned before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Of the Canny detector on depth normalised to [0, 1]: iBims-1's evaluation script.
CANNY_SIGMA = math.sqrt(2)
CANNY_LOW, CANNY_HIGH = 0.15, 0.3
# Pixels: predicted edges further from any true one do not count as found inaccurately.
DBE_REACH = 10.0
# Metres a Sobel kernel answers: Hu et al. (WACV 2019), Table 3.
EDGE_THRESHOLDS = (0.25, 0.5, 1.0)
# Depth Pro, Section 3.2: ten ratios, weighted by their size.
F1_RATIOS = tuple(np.linspace(1.05, 1.25, 10).tolist())

# Edges this close to a hole are the hole's, not the scene's.
_BESIDE_HOLE = 3.0
_SOBEL_SCALE = 8000  # Canny wants whole numbers; a Sobel kernel answers at most 4 to [0, 1]


@dataclass(frozen=True)
class BoundaryError:
    """Distances between edges, pixels; which edges, and how far, is the measure's affair.

    accuracy: mean, of predicted edges to the nearest true ones.
    completeness: mean, of true edges to the nearest predicted ones.
    """

    accuracy: float
    completeness: float


@dataclass(frozen=True)
class PrecisionRecall:
    """Of edge pixels.

    precision: share of the predicted ones that are true. recall: share of the true ones found.
    """

    precision: float
    recall: float


@dataclass(frozen=True)
class BoundaryScores:
    """All boundary measures of a frame; NaN where one cannot be had (no edges, no labels).

    dbe_*: of `depth_boundary_error`. pdbe_*: of `pseudo_depth_boundary_error`.
    edge_*: of `edge_precision_recall`. boundary_f1: of `boundary_f1`.
    """

    dbe_accuracy: float
    dbe_completeness: float
    pdbe_accuracy: float
    pdbe_completeness: float
    edge_precision: float
    edge_recall: float
    boundary_f1: float


def score_boundaries(
    prediction: Tensor, truth: Tensor, edges: Tensor | None = None
) -> BoundaryScores:
    """All measures of one frame.

    Args:
        prediction, truth: (H, W) z-depth, metres; the prediction aligned if it needs to be.
        edges: (H, W) bool, labelled depth edges, if there are any.
    """
    missing = BoundaryError(math.nan, math.nan)
    known = torch.isfinite(truth)
    dbe = missing if edges is None else depth_boundary_error(prediction, edges, known)
    pdbe = pseudo_depth_boundary_error(prediction, truth)
    edge = edge_precision_recall(prediction, truth)
    return BoundaryScores(
        dbe.accuracy,
        dbe.completeness,
        pdbe.accuracy,
        pdbe.completeness,
        edge.precision,
        edge.recall,
        boundary_f1(prediction, truth),
    )


def mean_boundaries(scores: Sequence[BoundaryScores]) -> BoundaryScores:
    """Mean over frames of each measure, over those that have it; NaN if none has."""
    table = torch.tensor([astuple(s) for s in scores], dtype=torch.float64).reshape(-1, 7)
    return BoundaryScores(*table.nanmean(dim=0).tolist())


# --- distances of edges -----------------------------------------------------------------------


def depth_boundary_error(
    prediction: Tensor, edges: Tensor, mask: Tensor | None = None
) -> BoundaryError:
    """iBims-1's depth boundary error (DBE) against labelled edges.

    Accuracy is the mean distance to the nearest true edge of those predicted edges that have one
    within 10 pixels; completeness the mean distance of every true edge to the nearest predicted
    one, which is not limited. Source: Koch et al., "Evaluation of CNN-based Single-Image Depth
    Estimation Methods" (ECCV workshops 2018), Section 3.2. The script that came with the data
    differs from the paper: it limits completeness to 10 pixels and averages both directions there;
    numbers above 10, as in SharpDepth's Table 2, cannot come of it. Its detector, Canny on depth
    normalised to [0, 1] with sigma sqrt(2) and thresholds 0.15 and 0.3, is used here (the paper's
    are structured edges).

    Without a single predicted edge the accuracy is 10 pixels, as the script has it, and the
    completeness the diagonal of the image (ours).

    Args:
        edges: (H, W) bool, True on labelled depth edges.
        mask: (H, W) bool, pixels that count; none other may hold an edge.

    Returns:
        NaN where there is no labelled edge.
    """
    return _chamfer(depth_edges(prediction), edges.cpu().numpy().astype(bool), mask)


def pseudo_depth_boundary_error(prediction: Tensor, truth: Tensor) -> BoundaryError:
    """SharpDepth's pseudo depth boundary error (PDBE), for data without labelled edges.

    The error of `depth_boundary_error`, with the edges that Canny finds in the true depth in
    the place of labels. Both depths are normalised to [0, 1] by their own extremes, so a common
    scale and shift does not matter. Source: SharpDepth, Section 5.1; its thresholds are not
    printed: iBims-1's are our reading. Canny on depth finds steep floors too and few of the small
    steps that people label: not comparable with DBE, nor between data of different range.

    Pixels without truth hold no edges.
    """
    known = torch.isfinite(truth)
    return _chamfer(depth_edges(prediction), depth_edges(truth), known)


def depth_edges(
    depth: Tensor,
    *,
    sigma: float = CANNY_SIGMA,
    low: float = CANNY_LOW,
    high: float = CANNY_HIGH,
) -> np.ndarray:
    """(H, W) bool: Canny edges of depth normalised to [0, 1] by its extremes.

    Pixels without depth are filled from the nearest that has one; edges within 3 pixels of them
    are dropped. +inf counts as the farthest finite depth.

    Args:
        sigma: of the Gaussian, pixels.
        low, high: thresholds on the answer of the 3x3 Sobel kernel (a step of 1 gives 4).
    """
    values = depth.detach().cpu().numpy().astype(np.float32)
    finite = values[np.isfinite(values)]
    if not finite.size or finite.max() == finite.min():
        return np.zeros(values.shape, dtype=bool)
    values = np.where(np.isposinf(values), finite.max(), values)
    holes = ~np.isfinite(values)
    beside = np.zeros_like(holes)
    if holes.any():
        values, beside = _filled(values, holes)
    values = (values - finite.min()) / (finite.max() - finite.min())
    smooth = cv2.GaussianBlur(values, (0, 0), sigma)
    dx, dy = (
        np.round(cv2.Sobel(smooth, cv2.CV_32F, *order) * _SOBEL_SCALE).astype(np.int16)
        for order in ((1, 0), (0, 1))
    )
    found = cv2.Canny(dx, dy, low * _SOBEL_SCALE, high * _SOBEL_SCALE, L2gradient=True)
    return (found > 0) & ~beside


def _filled(values: np.ndarray, holes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values with every hole filled from the nearest pixel, and which pixels are beside one."""
    _, label = cv2.distanceTransformWithLabels(
        holes.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(label.max() + 1, np.float32)
    of_label[label[~holes]] = values[~holes]
    return of_label[label], _distance_to(holes) <= _BESIDE_HOLE


def _chamfer(predicted: np.ndarray, true: np.ndarray, mask: Tensor | None) -> BoundaryError:
    """The two means of distances between edges (H, W) bool."""
    if mask is not None:
        counts = mask.cpu().numpy().astype(bool)
        predicted, true = predicted & counts, true & counts
    if not true.any():
        return BoundaryError(math.nan, math.nan)
    if not predicted.any():
        return BoundaryError(DBE_REACH, math.hypot(*true.shape))
    from_true = _distance_to(true)[predicted]
    near = from_true[from_true < DBE_REACH]
    accuracy = float(near.mean(dtype=np.float64)) if near.size else DBE_REACH
    return BoundaryError(accuracy, float(_distance_to(predicted)[true].mean(dtype=np.float64)))


def _distance_to(edges: np.ndarray) -> np.ndarray:
    """(H, W) exact Euclidean distance to the nearest True, pixels."""
    return cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


# --- shares of edge pixels --------------------------------------------------------------------

_SOBEL = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])


def edge_precision_recall(
    prediction: Tensor, truth: Tensor, thresholds: Sequence[float] = EDGE_THRESHOLDS
) -> PrecisionRecall:
    """Precision and recall of edge pixels (EP, ER), mean over the thresholds.

    A pixel is an edge where the Sobel gradient of depth in metres is above the threshold, and is
    found only in that very pixel. Source: Hu et al., "Revisiting Single Image Depth Estimation"
    (WACV 2019), Section 4.3, who print each threshold on its own; BetterDepth's Table 4 prints one
    number and no threshold: the mean over theirs is our reading. Unlike the boundary errors it
    forgives no offset of a pixel; unlike `boundary_f1` it grows with the scale of the scene.

    Precision is 0 where nothing was predicted; both are NaN without any true edge. Pixels whose
    3x3 neighbourhood lacks truth or prediction do not count.
    """
    predicted, true = _sobel(prediction), _sobel(truth)
    both = ~(torch.isnan(predicted) | torch.isnan(true))
    predicted, true = predicted[both], true[both]
    precision, recall = [], []
    for threshold in thresholds:
        p, t = predicted > threshold, true > threshold
        hits, positives, wanted = (int(x.sum()) for x in (p & t, p, t))
        if wanted:
            precision.append(hits / positives if positives else 0.0)
            recall.append(hits / wanted)
    if not recall:
        return PrecisionRecall(math.nan, math.nan)
    return PrecisionRecall(sum(precision) / len(precision), sum(recall) / len(recall))


def _sobel(depth: Tensor) -> Tensor:
    """(H - 2, W - 2) Sobel gradient magnitude, NaN beside NaN and beyond range."""
    kernel = torch.stack((_SOBEL, _SOBEL.T)).unsqueeze(1).to(depth.device)
    usable = torch.where(torch.isfinite(depth), depth, torch.nan).to(torch.float32)
    return F.conv2d(usable[None, None], kernel)[0].square().sum(0).sqrt()


def boundary_f1(prediction: Tensor, truth: Tensor, ratios: Sequence[float] = F1_RATIOS) -> float:
    """Scale-invariant boundary F1 of Depth Pro, which DepthMaster prints.

    There is a boundary between two direct neighbours where their depths differ by more than a
    ratio, the nearer on a given side. Precision and recall are the means over the four sides
    (left, right, above, below); their F1 is averaged over ten ratios from 1.05 to 1.25, weighted
    by the ratio. A side on which the truth has no boundary counts 0, as in Depth Pro's code, so
    even a perfect prediction is below 1 in a scene with boundaries on few sides.
    Source: Bochkovskii et al., "Depth Pro" (ICLR 2025), Section 3.2. It knows
    occlusion by its sign, which the others do not, asks for the very pixel, and does not change
    with scale.

    NaN where the truth has no boundary at all (Depth Pro: 0). A pair counts only where both
    depths are known in both maps; +inf is farther than any depth.
    """
    hits, positives, wanted = (torch.zeros(4, len(ratios), dtype=torch.float64) for _ in range(3))
    limits = torch.tensor(ratios, dtype=torch.float32, device=truth.device)
    side = 0
    for dim in (-1, -2):
        p, t = _neighbour_ratio(prediction, dim), _neighbour_ratio(truth, dim)
        # few pixels lie at a boundary on either side; the rest need not be looked at twice
        few = (torch.maximum(p, t) > limits[0]) | (torch.minimum(p, t) < 1 / limits[0])
        p, t = p[few], t[few]
        for predicted, true in ((p, t), (1 / p, 1 / t)):
            # above a limit in both is the smaller one above it
            hits[side] = _counts_above(torch.minimum(predicted, true), limits)
            positives[side] = _counts_above(predicted, limits)
            wanted[side] = _counts_above(true, limits)
            side += 1
    if not float(wanted.sum()) > 0:
        return math.nan
    precision = (hits / positives.clamp_min(1)).mean(0)
    recall = (hits / wanted.clamp_min(1)).mean(0)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-300)
    weight = torch.tensor(ratios, dtype=torch.float64)
    return float((f1 * weight).sum() / weight.sum())


def _neighbour_ratio(depth: Tensor, dim: int) -> Tensor:
    """Depth of each pixel over that of the next along `dim`; NaN where either is unknown."""
    size = depth.shape[dim] - 1
    far = depth.to(torch.float32)
    return far.narrow(dim, 0, size) / far.narrow(dim, 1, size)


def _counts_above(values: Tensor, limits: Tensor) -> Tensor:
    """How many of `values` (N,) are above each of the ascending `limits`."""
    below = torch.searchsorted(limits, values)  # how many limits lie below each value
    exceeding = torch.bincount(below, minlength=len(limits) + 1)
    return exceeding.flip(0).cumsum(0).flip(0)[1:].to('cpu', torch.float64)

"""From the spread of a model's samples to a standard deviation that is true.

The samples of a diffusion model agree with each other more than with the truth, so their spread
ranks errors but does not measure them. A few numbers, fitted once on scenes the model never saw
and stored in its checkpoint, mend that: how far to trust the spread, how much larger errors are at
some depths than at others, and at the edges of things, where half a pixel decides. What refines a
coarse depth says one thing whatever the noise; how far it leaves the coarse depth counts too.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .alignment import align_disparity, align_scale_shift
from .errors import MetricDepthError
from .types import CoarseDepth

ONE_SIGMA = 0.6827  # share of a Gaussian within one standard deviation
_EDGE_REACH = 1  # pixels
# Metres at which a fit chooses the factor of the range.
_RANGE_DEPTHS = (0.3, 1.0, 3.0, 8.0, 20.0, 60.0)
_LARGEST_EDGE = math.log(10)
_EDGE_UNIT = 0.01  # neighbours on one surface differ by about so much of their depth
_ROUGHNESS = 0.03  # price of factors that differ from their neighbours'
_LEVELLINGS = 4
_SMALLEST_ERROR = 1e-6  # of depth; there is a logarithm
_ENOUGH_PIXELS = 1000
# Of the floor, and of the coarse depth's part, to what the spread usually adds: however little the
# spread said in the fit, one far beyond the usual still widens the error bar.
_LARGEST_FLOOR = 4.0


@dataclass(frozen=True)
class Calibration:
    """std = hypot(std_scale * spread, std_floor * depth, std_coarse * disagreement)
    * range factor * edge factor * widening.

    std_scale and std_coarse have no unit, std_floor and std_single are metres per metre of depth.
    Disagreement is with the coarse depth, of methods that refine one. A single sample leaves no
    spread to look at: std_single, the model's usual relative error beside its disagreement, stands
    for spread and floor.

    range_depths, range_factors: the range factor at some depths, metres, growing; linear in
        log depth between them, constant beyond.
    edge_power: the edge factor is (1 + e / 0.01) ** edge_power, with e of `edges`.
    novelty_picture, novelty_features: the widening is novelty ** power, of both kinds of novelty,
        where they are above 1; see novelty.py.
    fitted_over: name of the coarse model whose depth was refined when this was fitted; '' if none
        was, or what training made of the truth. Over another, errors are at least those of the
        coarse depth, from which the metres come: see `over`.

    Raises:
        MetricDepthError: a number that is not finite or below 0, or lists that do not match.
    """

    std_scale: float = 1.0
    std_floor: float = 0.01
    std_single: float = 0.3
    range_depths: tuple[float, ...] = field(default=(1.0,), metadata={'later': True})
    range_factors: tuple[float, ...] = field(default=(1.0,), metadata={'later': True})
    edge_power: float = field(default=0.0, metadata={'later': True})
    std_coarse: float = field(default=0.0, metadata={'later': True})
    novelty_picture: float = field(default=0.0, metadata={'later': True})
    novelty_features: float = field(default=0.0, metadata={'later': True})
    fitted_over: str = field(default='', metadata={'later': True})

    def __post_init__(self) -> None:
        numbers = {'std_scale': self.std_scale, 'std_floor': self.std_floor,
                   'std_single': self.std_single, 'edge_power': self.edge_power,
                   'std_coarse': self.std_coarse, 'novelty_picture': self.novelty_picture,
                   'novelty_features': self.novelty_features}  # fmt: skip
        for name in ('range_depths', 'range_factors'):
            numbers |= {f'{name}[{i}]': value for i, value in enumerate(getattr(self, name))}
        for name, value in numbers.items():
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise MetricDepthError(f'{name} is {value!r}, expected a finite number from 0 on')
        if not isinstance(self.fitted_over, str):
            raise MetricDepthError(f'fitted_over is {self.fitted_over!r}, expected a name')
        depths = self.range_depths
        if len(depths) != len(self.range_factors) or not depths or depths[0] <= 0:
            raise MetricDepthError(
                f'range_depths is {depths}, expected as many depths above 0 m as range_factors '
                f'{self.range_factors}'
            )
        if any(far <= near for near, far in itertools.pairwise(depths)):
            raise MetricDepthError(f'range_depths is {depths}, expected growing depths')
        if min(self.range_factors) == 0:
            raise MetricDepthError(
                f'range_factors is {self.range_factors}, expected numbers above 0'
            )

    @property
    def reach(self) -> int:
        """How many pixels around one its standard deviation depends on."""
        return _EDGE_REACH if self.edge_power else 0

    @property
    def heeds_novelty(self) -> bool:
        """Whether the error bar is wider on frames of what the model does not know."""
        return self.novelty_picture > 0 or self.novelty_features > 0

    def std(
        self,
        depth: Tensor,
        samples: Tensor,
        coarse: CoarseDepth | None = None,
        novelty: Tensor | None = None,
    ) -> Tensor:
        """(h, w) metres, one sigma, of the median `depth` (h, w) of `samples` (S, h, w).

        NaN where depth is not finite.

        Args:
            coarse: (h, w), what the method refined.
            novelty: (2,), of Novelty.of; None for none.
        """
        differs = disagreement(depth, coarse)
        if samples.shape[0] == 1:
            plain = torch.hypot(self.std_single * depth, self.std_coarse * differs)
            std = self.widening(novelty) * self._std(depth, plain)
        else:
            std = self.of_spread(depth, spread(depth, samples), differs, novelty)
        return self.over(std, coarse)

    def of_spread(
        self,
        depth: Tensor,
        spread: Tensor,
        disagreement: Tensor | None = None,
        novelty: Tensor | None = None,
    ) -> Tensor:
        """(h, w) metres, one sigma, of the depth (h, w) of samples that spread so far (h, w).

        Args:
            disagreement: (h, w), what the function of that name says; None for 0.
            novelty: (2,), of Novelty.of; None for none.
        """
        plain = torch.hypot(self.std_scale * spread, self.std_floor * depth)
        if disagreement is not None:
            plain = torch.hypot(plain, self.std_coarse * disagreement)
        return self.widening(novelty) * self._std(depth, plain)

    def over(self, std: Tensor, coarse: CoarseDepth | None) -> Tensor:
        """std (h, w), or that of the coarse depth where it is larger and was not fitted over."""
        if coarse is None or coarse.std is None or coarse.model == self.fitted_over:
            return std
        return torch.where(std.isnan(), std, torch.fmax(std, coarse.std.to(std)))

    def widening(self, novelty: Tensor | None) -> float:
        """1 or more: of frames of novelty (2,), or of frames as usual if None."""
        if novelty is None:
            return 1.0
        powers = torch.tensor([self.novelty_picture, self.novelty_features])
        return float(novelty.cpu().clamp(min=1).pow(powers).prod())

    def _std(self, depth: Tensor, plain: Tensor) -> Tensor:
        at = depth.new_tensor(self.range_depths)
        log_factors = depth.new_tensor(self.range_factors).log()
        log_factor = _hats(depth, at) @ log_factors
        log_factor = log_factor + self.edge_power * _edge_base(edges(depth)).log()
        return torch.where(torch.isfinite(depth), log_factor.exp() * plain, torch.nan)


def spread(depth: Tensor, samples: Tensor) -> Tensor:
    """(h, w) standard deviation, metres, over the samples (S, h, w); NaN of a single one.

    A sample beyond the range (+inf) says nothing about how far off the others are: it counts as
    the median.
    """
    if len(samples) == 1:
        return torch.full_like(depth, torch.nan)
    return torch.where(torch.isfinite(samples), samples, depth).std(dim=0)


def disagreement(depth: Tensor, coarse: CoarseDepth | None) -> Tensor:
    """(h, w) metres between depth (h, w) and the coarse one, at most the depth itself.

    Coarse depth without a scale is first fitted to the depth. 0 where there is none.
    """
    if coarse is None:
        return torch.zeros_like(depth)
    said = coarse.values.to(depth.dtype)
    if not coarse.metric:
        fit = align_disparity if coarse.disparity else align_scale_shift
        relative = said.reciprocal() if coarse.disparity else said
        said = fit(relative.flatten(), depth.flatten()).reshape(depth.shape)
    return torch.minimum((depth - said).abs(), depth).nan_to_num(0.0)


def edges(depth: Tensor) -> Tensor:
    """(h, w) natural logarithm of farthest over nearest of a pixel and its eight neighbours.

    At most ln 10, which an edge to the infinitely far has too; pixels without depth do not count.
    """
    none = torch.isnan(depth)
    size, padding = 2 * _EDGE_REACH + 1, _EDGE_REACH
    log_depth = depth.log()[None, None]
    far = F.max_pool2d(log_depth.masked_fill(none, -torch.inf), size, 1, padding)
    near = -F.max_pool2d((-log_depth).masked_fill(none, -torch.inf), size, 1, padding)
    return (
        (far - near)[0, 0]
        .nan_to_num(0.0, posinf=_LARGEST_EDGE, neginf=0.0)
        .clamp(max=_LARGEST_EDGE)
    )


def fit_calibration(
    depth: Tensor,
    spread: Tensor,
    edge: Tensor,
    truth: Tensor,
    disagreement: Tensor | None = None,
    *,
    widening: Tensor | None = None,
) -> Calibration:
    """The Calibration that is most likely to have made the errors, holding 68 % in one sigma.

    The shape is the one of greatest likelihood under Student's distribution of three degrees of
    freedom, whose tails are as heavy as those of depth errors; the range factors are then levelled
    towards the same share at every depth, and the scale makes the share true.

    Args:
        depth, spread, edge, truth: (N,), finite, of pixels of held-out frames; metres, and what
            `edges` says.
        disagreement: (N,), what the function of that name says; None for methods that refine
            nothing.
        widening: (N,), how much wider the error bar will be for the frame's novelty; None for 1.
    """
    depth, spread, edge, truth = (x.to(torch.float64) for x in (depth, spread, edge, truth))
    error = ((depth - truth).abs() / depth).clamp(min=_SMALLEST_ERROR)
    if widening is not None:
        error = error / widening.to(error)
    relative_spread = spread / depth
    hats = _hats(depth, depth.new_tensor(_RANGE_DEPTHS))
    log_edge = _edge_base(edge).log()
    largest = _LARGEST_FLOOR * relative_spread.square().mean().sqrt().clamp(min=_SMALLEST_ERROR)
    differs = torch.zeros_like(depth) if disagreement is None else disagreement.to(depth) / depth
    largest_coarse = largest / differs.square().mean().sqrt().clamp(min=_SMALLEST_ERROR)
    # Unconstrained: logit of the ratio, root of the power, logarithm of the scale, logit of the
    # coarse depth's ratio, logarithms of the factors.
    start = torch.cat(
        [depth.new_tensor([-1.0, 0.5, 0.0, -1.0]), depth.new_zeros(len(_RANGE_DEPTHS))]
    )
    numbers = start.requires_grad_()

    def ratio() -> Tensor:
        return largest * numbers[0].sigmoid()

    def coarse_ratio() -> Tensor:
        if disagreement is None:
            return torch.zeros_like(largest)
        return largest_coarse * numbers[3].sigmoid()

    def log_factor() -> Tensor:
        return hats @ numbers[4:] + numbers[1].square() * log_edge

    def log_shape() -> Tensor:
        plain = torch.hypot(relative_spread, ratio())
        return torch.hypot(plain, coarse_ratio() * differs).log() + log_factor()

    def surprise() -> Tensor:
        optimizer.zero_grad()
        log_std = numbers[2] + log_shape()
        unlikely = 2 * torch.log1p((error / log_std.exp()).square() / 3)
        value = (log_std + unlikely).mean() + _ROUGHNESS * numbers[4:].diff().square().sum()
        value = value + _ROUGHNESS * numbers[4:].mean().square()  # the scale has what is common
        value.backward()
        return value

    optimizer = torch.optim.LBFGS([numbers], max_iter=200, line_search_fn='strong_wolfe')
    optimizer.step(surprise)
    with torch.no_grad():
        for _ in range(_LEVELLINGS):
            sigmas = error / log_shape().exp()
            uneven = _weighted_quantiles(sigmas / _quantile(sigmas, ONE_SIGMA), hats, ONE_SIGMA)
            numbers[4:] += uneven.log() / 2  # half, as neighbours share the pixels between
        scale = _quantile(error / log_shape().exp(), ONE_SIGMA)
        std_coarse = scale * float(coarse_ratio())
        left = (error / log_factor().exp()).square() - (std_coarse * differs).square()
        single = max(_quantile(left, ONE_SIGMA), _SMALLEST_ERROR**2)
        return Calibration(
            std_scale=scale,
            std_floor=scale * float(ratio()),
            std_single=math.sqrt(single),
            range_depths=_RANGE_DEPTHS,
            range_factors=tuple(numbers[4:].exp().tolist()),
            edge_power=float(numbers[1].square()),
            std_coarse=std_coarse,
        )


def fit_novelty_powers(novelty: Tensor, sigmas: Tensor) -> tuple[float, float]:
    """novelty_picture and novelty_features by which errors grow with novelty: least squares of
    logarithms, neither below 0.

    Args:
        novelty: (F, 2), of frames both usual and not. sigmas: (F,) the error, in sigmas of an
            error bar that does not heed novelty, that 68 % of a frame's pixels stay below.
    """
    known = sigmas.isfinite() & (sigmas > 0)
    grown = novelty[known].double().clamp(min=1).log()
    error = sigmas[known].double().log()
    best, least = (0.0, 0.0), math.inf
    # With two powers every set of those that are not 0 can be tried.
    for kinds in ([], [0], [1], [0, 1]):
        columns = torch.cat([torch.ones(len(grown), 1).to(grown), grown[:, kinds]], dim=1)
        if torch.linalg.matrix_rank(columns) < columns.shape[1]:
            continue
        solution = torch.linalg.lstsq(columns, error[:, None]).solution[:, 0]
        left = float((columns @ solution - error).square().sum())
        if left < least and bool((solution[1:] >= 0).all()):
            least = left
            best = tuple(  # type: ignore[assignment]
                float(solution[1 + kinds.index(kind)]) if kind in kinds else 0.0 for kind in (0, 1)
            )
    return best


def _weighted_quantiles(values: Tensor, weights: Tensor, q: float) -> Tensor:
    """(K,) quantiles of values (N,), one for each column of the weights (N, K).

    A column that weighs too little to say gets 1.
    """
    values, order = values.sort()
    mass = weights[order].cumsum(0)
    at = torch.searchsorted(mass.T.contiguous(), q * mass[-1:].T)[:, 0]
    found = values[at.clamp(max=len(values) - 1)]
    return torch.where(mass[-1] >= _ENOUGH_PIXELS, found, 1.0)


def _hats(depth: Tensor, at: Tensor) -> Tensor:
    """(..., K) weights that interpolate what is known at the K depths `at`, in log depth."""
    position = depth.clamp(at[0], at[-1]).nan_to_num(float(at[0])).log()
    knots = at.log()
    upper = torch.searchsorted(knots, position.contiguous()).clamp(max=len(knots) - 1)
    lower = (upper - 1).clamp(min=0)
    width = torch.where(upper > lower, knots[upper] - knots[lower], 1.0)
    share = ((position - knots[lower]) / width)[..., None]
    one_hot = torch.eye(len(knots), dtype=depth.dtype, device=depth.device)
    return (1 - share) * one_hot[lower] + share * one_hot[upper]


def _edge_base(edge: Tensor) -> Tensor:
    return 1 + edge / _EDGE_UNIT


def _quantile(values: Tensor, q: float) -> float:
    """As torch.quantile, for any number of values."""
    k = max(1, round(q * values.numel()))
    return float(values.kthvalue(k).values)

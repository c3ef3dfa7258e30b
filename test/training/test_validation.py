"""The report on held-out frames: every row by hand, lenses and fields of view from rays."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.training.calibrating import calibrate
from metric_depth_ros.training.data import FramePool, write_shard
from metric_depth_ros.training.model_card import accuracy, curve_table, error_bar
from metric_depth_ros.training.validation import (
    HeldOutFrame,
    field_of_view_deg,
    lens_deviation,
    lens_name,
    looks_outdoors,
    predict,
    report,
    validate,
)
from metric_depth_ros.types import Camera, CoarseDepth

GENERATOR_SEED = 3


def rays(camera: Camera) -> Tensor:
    return geometry.rays(camera).permute(2, 0, 1)


def pinhole(fov_deg: float, width: int = 64, height: int = 48) -> Camera:
    focal = (width - 1) / 2 / math.tan(math.radians(fov_deg) / 2)
    return Camera(focal, 1.01 * focal, (width - 1) / 2, (height - 1) / 2, width, height)


def fisheye(fov_deg: float) -> Camera:
    focal = 63 / math.radians(fov_deg)
    return Camera(focal, focal, 31.5, 23.5, 64, 48, 'equidistant', (0.0, 0.0, 0.0, 0.0))


def test_field_of_view_is_the_angle_between_the_outermost_rays() -> None:
    camera = Camera(31.5, 31.5, 31.5, 23.0, 64, 47)  # the middle row holds the axis
    assert field_of_view_deg(rays(camera)) == pytest.approx(90, abs=1e-3)
    sideways = Camera(31.5, 31.5, 0.0, 23.0, 64, 47)
    expected = math.degrees(math.atan(2))
    assert field_of_view_deg(rays(sideways)) == pytest.approx(expected, abs=1e-3)
    assert field_of_view_deg(torch.zeros(3, 4, 4)) == 0


@pytest.mark.parametrize('fov_deg', [40.0, 75.0, 110.0])
def test_lenses_are_told_apart(fov_deg: float) -> None:
    straight = rays(pinhole(fov_deg))
    stored = (straight * 32767).round() / 32767  # as training keeps them
    assert lens_name(stored) == 'pinhole'
    bent = pinhole(fov_deg)
    k1 = 0.08 * (bent.fx / 40) ** 2  # 8 % at the corner
    ordinary = Camera(
        bent.fx, bent.fy, bent.cx, bent.cy, 64, 48, 'plumb_bob', (-k1, 0.0, 0.0, 0.0)
    )
    assert lens_name(rays(ordinary)) == 'distorted'
    assert lens_deviation(rays(fisheye(fov_deg))) > lens_deviation(rays(ordinary)) / 2
    if fov_deg > 60:
        assert lens_name(rays(fisheye(fov_deg))) == 'fisheye'


def test_a_view_is_outdoors_if_enough_of_it_is_far() -> None:
    distance = torch.full((4, 8), 3.0)
    inside = torch.ones(4, 8, dtype=torch.bool)
    distance[0, :3] = torch.inf
    assert not looks_outdoors(distance, inside)  # 3 of 32
    distance[0, 3] = 20.5
    assert looks_outdoors(distance, inside)
    distance[0] = torch.nan  # unknown is no sky
    assert not looks_outdoors(distance, inside)


def frame(truth: Tensor, factor: float, **about: object) -> HeldOutFrame:
    """Depth `factor` times the truth, that spreads a tenth of the truth."""
    given = {'regression': 1.5 * truth, 'fov_deg': 60.0, 'lens': 'pinhole', 'outdoor': False}
    return HeldOutFrame(factor * truth, 0.1 * truth, truth, **{**given, **about})


def test_every_row_of_the_report_by_hand() -> None:
    near, far = torch.full((4, 4), 0.8), torch.full((4, 4), 20.0)
    far[0, 0] = torch.nan
    frames = [
        frame(near, 1.1, fov_deg=50.0),
        frame(near, 1.3, fov_deg=70.0, lens='fisheye'),
        frame(far, 1.2, fov_deg=90.0, lens='distorted', outdoor=True),
    ]
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    made = report(frames, Calibration(std_scale=2.1, std_floor=0.0), generator)
    assert made.frames == 3
    assert made.model.abs_rel == pytest.approx(0.2)
    assert made.model.delta1 == pytest.approx(2 / 3)
    assert made.regression is not None
    assert made.regression.abs_rel == pytest.approx(0.5)
    # 0.8 m everywhere: two frames right, the third wrong by 19.2 of 20
    assert made.constant.abs_rel == pytest.approx(0.96 / 3, abs=1e-3)

    def table(parts) -> dict[str, tuple[int, float]]:
        return {p.name: (p.frames, pytest.approx(p.scores.abs_rel)) for p in parts}

    assert table(made.by_fov) == {
        'below 63 degrees': (1, 0.1),
        '63 to 77 degrees': (1, 0.3),
        'above 77 degrees': (1, 0.2),
    }
    assert table(made.by_lens) == {'pinhole': (1, 0.1), 'distorted': (1, 0.2), 'fisheye': (1, 0.3)}
    assert table(made.by_place) == {'indoor': (2, 0.2), 'outdoor': (1, 0.2)}
    assert table(made.by_range) == {'0 to 1 m': (2, 0.2), '10 to 30 m': (1, 0.2)}
    # std is 0.21 of the truth, the errors 0.1, 0.3 and 0.2 of it
    assert made.uncertainty.coverage_1 == pytest.approx(31 / 47)
    assert made.uncertainty.coverage_2 == 1
    assert made.uncertainty.spearman > 0.5  # far things err more, and spread more


def test_what_the_frames_do_not_have_is_left_out() -> None:
    truth = torch.full((4, 4), 3.0)
    blind = frame(torch.full((4, 4), torch.nan), 1.0, lens='fisheye')
    frames = [frame(truth, 1.1, regression=None), blind]
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    made = report([frames[0]], Calibration(), generator)
    assert made.regression is None
    assert [part.name for part in made.by_place] == ['indoor']
    assert [part.name for part in made.by_lens] == ['pinhole']
    with_blind = report(frames, Calibration(), generator)
    assert [part.name for part in with_blind.by_lens] == ['pinhole']


def test_the_card_shows_all_of_it() -> None:
    frames = [frame(torch.full((4, 4), 3.0), 1.1), frame(torch.full((4, 4), 40.0), 1.3)]
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    made = report(frames, Calibration(), generator)
    text = accuracy('tiny', made) + error_bar(Card('tiny', '', ''), made)
    for row in (
        '| **tiny** | 0.200 |',
        'regression head alone, no diffusion | 0.500 |',
        '| *lens* | | | | | |',
        '| pinhole | 2 | 0.200 |',
        '| indoor | 2 | 0.200 |',
        '| 2 to 5 m | 1 | 0.100 |',
        '| beyond 30 m | 1 | 0.300 |',
        '| surest 25% of the pixels | 0.30 |',
    ):
        assert row in text, row
    assert '| outdoor |' not in text


def test_the_curve_s_table_ends_with_its_last_line() -> None:
    curve = [
        {'step': k, 'loss': 0.5, 'abs_rel': k / 100, 'delta1': 0.7, 'train_abs_rel': 0.1}
        for k in range(1, 31)
    ]
    lines = curve_table(curve).splitlines()
    assert lines[0] == '| step | loss | AbsRel held out | AbsRel trained on | delta1 held out |'
    assert lines[-1] == '| 30 | 0.5000 | 0.300 | 0.100 | 0.700 |'
    assert 12 <= len(lines) - 2 <= 16


class FourMetres(torch.nn.Module):
    """Says 4 m wherever it is asked."""

    takes_rays, takes_targets, num_samples = True, True, 1
    multiple_of, working_pixels = 32, 64 * 32

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.asked = 0

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        assert not self.training
        self.asked += int(targets.sum())
        depth = torch.full(conditioning.valid.shape, 4.0)
        return depth.where(targets & conditioning.valid, torch.nan).expand(num_samples, -1, -1)


def pool_of(folder: Path, depth: float, count: int) -> FramePool:
    """Frames without a picture of a wall, `depth` metres along every ray."""
    shape = (count, 32, 64)
    camera_rays = geometry.rays(pinhole(60, 64, 32)).expand(count, -1, -1, -1)
    image = torch.zeros(*shape, 3, dtype=torch.uint8)
    folder.mkdir()
    write_shard(folder / '00000.shard', image, torch.full(shape, depth), camera_rays)
    return FramePool(folder)


def test_the_curve_has_held_out_and_training_frames(tmp_path: Path) -> None:
    method = FourMetres().train()
    heldout = pool_of(tmp_path / 'heldout', 5.0, 3)
    pools = [pool_of(tmp_path / 'a', 4.0, 2), pool_of(tmp_path / 'b', 8.0, 70)]
    values = validate(method, heldout, seed=0)
    assert values.keys() == {'abs_rel', 'delta1'}
    z = geometry.rays(pinhole(60, 64, 32))[..., 2]
    near, far = ((4 / (d * z) - 1).abs().mean().item() for d in (5.0, 4.0))
    assert values['abs_rel'] == pytest.approx(near, abs=0.01)
    values = validate(method, heldout, seed=0, training=pools)
    assert values['train_abs_rel'] == pytest.approx(
        (2 * far + 14 * (4 / (8 * z) - 1).abs().mean().item()) / 16, abs=0.01
    )
    assert method.training
    # a tenth of the pixels of three, three and sixteen frames
    assert method.asked == pytest.approx(22 * 204.8, rel=0.1)


class TwoThirds(torch.nn.Module):
    """Goes two thirds of the way from the coarse depth to a wall of 5 m, whatever it is shown."""

    takes_rays, takes_targets, num_samples, takes_coarse = True, False, 4, True
    multiple_of, working_pixels = 32, 64 * 32

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        wall, coarse = 5 * conditioning.rays[2], conditioning.coarse.values
        depth = coarse + 2 / 3 * (wall - coarse)
        noise = torch.rand(num_samples, 1, 1, generator=generator)
        return depth * (1 + 1e-4 * noise)


def test_the_error_bar_of_a_refiner_knows_where_it_leaves_the_coarse_depth(
    tmp_path: Path,
) -> None:
    def coarse(batch, generator) -> CoarseDepth:
        noise = torch.randn(batch.valid.shape, generator=generator)
        return CoarseDepth(5 * batch.rays[:, 2] * torch.exp(0.2 * noise))

    pool = pool_of(tmp_path / 'wall', 5.0, 12)
    whole = calibrate(TwoThirds().eval(), pool, seed=0, coarse=coarse)
    calibration, made, frames = whole.calibration, whole.report, whole.frames
    assert calibration.std_coarse > 0
    # what is left of the error is half of how far it went
    assert made.uncertainty.spearman > 0.8
    assert made.uncertainty.coverage_1 == pytest.approx(0.68, abs=0.04)
    again = list(predict(TwoThirds().eval(), pool, range(1, 12, 2), seed=0, coarse=coarse))
    for frame, other in zip(frames, again, strict=True):  # those that no fit has seen
        assert torch.equal(frame.depth, other.depth)
        went = (frame.depth - frame.coarse).abs()
        left = (frame.depth - frame.truth).abs()  # half of that
        torch.testing.assert_close(went, 2 * left, rtol=0.1, atol=0.01)
    blind = calibrate(FourMetresDense().eval(), pool, seed=0)
    assert blind.calibration.std_coarse == 0
    assert blind.report.uncertainty.spearman < 0.5


class FourMetresDense(FourMetres):
    """FourMetres of whole images."""

    takes_targets = False

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        noise = torch.rand(num_samples, *conditioning.valid.shape, generator=generator)
        return 4 + 0.01 * noise

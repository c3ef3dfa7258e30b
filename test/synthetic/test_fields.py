"""Scenes of distance fields: ray lengths against closed forms, and frames that are plausible."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.synthetic import render_fields_batch
from metric_depth_ros.synthetic.distance_fields import box, moved, sphere
from metric_depth_ros.synthetic.field_look import Material
from metric_depth_ros.synthetic.sphere_tracing import FieldScene, Plane, Solid, Thing, trace

GREY = Material('plain', (0.5, 0.5, 0.5), (0.6, 0.6, 0.6), 0.1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fan() -> torch.Tensor:
    """(3, 1681) unit directions around x."""
    aside = torch.linspace(-0.7, 0.7, 41)
    y, z = torch.meshgrid(aside, aside, indexing='ij')
    return F.normalize(torch.stack([torch.ones(1681), y.flatten(), z.flatten()]), dim=0)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    hit = expected.isfinite()
    assert hit.sum() > 50
    torch.testing.assert_close(found[hit].double(), expected[hit], rtol=0, atol=1e-3)


@pytest.mark.parametrize('bounded', [False, True])
def test_a_sphere_is_met_where_the_quadratic_says(bounded):
    solid = Solid(sphere(1.5) if bounded else moved(sphere(1.5), (4.0, 0.3, -0.2)), GREY)
    thing = Thing((solid,), 0.0, 1.6, (4.0, 0.3, -0.2))
    scene = FieldScene((), (), (thing,)) if bounded else FieldScene((), (solid,), ())
    rays = fan()
    centre = torch.tensor([4.0, 0.3, -0.2], dtype=torch.float64)
    along = centre @ rays.double()
    root = along**2 - centre @ centre + 1.5**2
    found = trace(scene, torch.zeros(3), rays)
    close(found[root > 0.05], (along - root.clamp(min=0).sqrt())[root > 0.05])
    assert found[root < -0.05].isinf().all()


def test_a_turned_box_is_met_where_its_slabs_say():
    half, place, yaw = torch.tensor([0.4, 1.0, 0.8]).double(), (3.0, 0.2, 0.1), 0.5
    scene = FieldScene((), (Solid(moved(box(tuple(half.tolist())), place, yaw), GREY),), ())
    c, s = math.cos(yaw), math.sin(yaw)
    turn = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64)
    start = (turn @ -torch.tensor(place).double())[:, None]
    way = turn @ fan().double()
    far_side, near_side = ((sign * half[:, None] - start) / way for sign in (1, -1))
    enter = torch.minimum(far_side, near_side).amax(0)
    leave = torch.maximum(far_side, near_side).amin(0)
    found = trace(scene, torch.zeros(3), fan())
    close(found[leave > enter + 0.05], enter[leave > enter + 0.05])
    assert found[enter > leave + 0.05].isinf().all()


def test_a_plane_is_met_at_any_slant():
    scene = FieldScene((Plane((0.0, 0.0, 1.0), -1.5, GREY),), (), ())
    down = -fan()[2].double()
    expected = torch.where(down > 0.01, 1.5 / down, torch.inf)
    found = trace(scene, torch.zeros(3), fan())
    close(found, expected)
    assert found[down <= 0].isinf().all()


@pytest.mark.parametrize(('kind', 'low', 'high'), [('indoor', 0.3, 9.0), ('outdoor', 1.0, 80.0)])
def test_depths_are_those_of_such_places(kind, low, high):
    frame = render_fields_batch(4, 32, 24, seeded(3), kind=kind)
    assert frame.image.shape == (4, 24, 32, 3)
    assert frame.image.dtype == torch.uint8
    middles = [float(d[v].median()) for d, v in zip(frame.depth, frame.valid, strict=True)]
    assert all(low < middle < high for middle in middles)
    assert bool(frame.depth.isinf().any()) == (kind == 'outdoor')
    assert (frame.image.float().flatten(1).std(1) > 8).all()


def test_same_seed_same_bytes_and_another_seed_others():
    first, again, other = (render_fields_batch(1, 24, 18, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.depth, again.depth)
    assert first.cameras == again.cameras
    assert not torch.equal(first.image, other.image)


def test_unknown_kinds_are_refused():
    with pytest.raises(MetricDepthError, match='underwater'):
        render_fields_batch(1, 8, 6, seeded(0), kind='underwater')

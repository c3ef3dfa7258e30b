"""What is in the scenes, the cameras that look at them, and what training never sees."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.synthetic import Content, make_scenes, random_camera, random_pose
from metric_depth_ros.synthetic.builder import SceneBuilder, stack
from metric_depth_ros.synthetic.cameras import HELDOUT_FOV, LENSES, clearance, look
from metric_depth_ros.synthetic.clutter import crates, floor_thing, small_thing
from metric_depth_ros.synthetic.floor import Floor
from metric_depth_ros.synthetic.furniture import chair
from metric_depth_ros.synthetic.outdoor import LAYOUTS, ROADS
from metric_depth_ros.synthetic.people import person, sitter
from metric_depth_ros.synthetic.raycast import cast
from metric_depth_ros.synthetic.scene import Kind
from metric_depth_ros.synthetic.styles import STYLES
from metric_depth_ros.synthetic.textures import SIZE
from metric_depth_ros.synthetic.textures_heldout import HELDOUT
from metric_depth_ros.synthetic.textures_train import TRAIN


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nominal_fov(camera) -> float:
    if camera.distortion_model == 'equidistant':
        return math.degrees(camera.width / camera.fx)
    return math.degrees(2 * math.atan(camera.width / 2 / camera.fx))


def test_held_out_textures_and_layouts_are_never_trained_on():
    train = {family for families in TRAIN.values() for family in families}
    held = {family for families in HELDOUT.values() for family in families}
    assert not train & held
    assert set(TRAIN) == set(HELDOUT)
    assert not set(STYLES['train']) & set(STYLES['heldout'])
    assert not set(LAYOUTS['train']) & set(LAYOUTS['heldout'])
    assert not set(ROADS['train']) & set(ROADS['heldout'])


@pytest.mark.parametrize('families', [TRAIN, HELDOUT], ids=['train', 'heldout'])
def test_textures_are_of_real_size_and_without_seams(families):
    for family in {f for group in families.values() for f in group}:
        texture = family(seeded(0))
        assert texture.albedo.shape == (SIZE, SIZE, 3), family
        assert texture.albedo.min() >= 0, family
        assert texture.albedo.max() <= 1, family
        assert all(0.2 < p < 20 for p in texture.period), family


def test_scenes_have_what_rooms_and_streets_have():
    scenes = make_scenes('both', 12, seeded(1))
    counts = (scenes.kind != Kind.NONE).sum(1)
    assert (counts > 15).all()
    assert 0 < scenes.outdoor.sum() < 12
    is_room = scenes.kind == Kind.ROOM
    assert (is_room.any(1) == ~scenes.outdoor).all()
    assert not is_room[:, scenes.num_rooms :].any()
    identity = scenes.rotation @ scenes.rotation.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-5, rtol=0)
    assert (scenes.half_size > 0).all()


def test_cameras_stand_free_and_look_as_told():
    generator = seeded(2)
    scenes = make_scenes('both', 16, generator)
    pose = random_pose(scenes, generator)
    free = clearance(scenes, pose[:, None, :3, 3])[:, 0]
    assert (free > 0).all()
    one = look(torch.zeros(1, 3), *(torch.tensor([a]) for a in (0.5, -0.3, 0.0)))[0]
    torch.testing.assert_close(one[2, 2], torch.tensor(math.sin(-0.3)))
    assert one[2, 0].abs() < 1e-6  # x is level
    assert one[2, 1] < 0  # y points down
    rolled = look(torch.zeros(1, 3), *(torch.tensor([a]) for a in (0.5, 0.0, 0.2)))[0]
    torch.testing.assert_close(rolled[2, 0], torch.tensor(-math.sin(0.2)))


def test_fields_of_view_of_the_splits_do_not_meet():
    generator = seeded(3)
    low, high = HELDOUT_FOV
    for split in ('train', 'heldout'):
        for _ in range(60):
            fov = nominal_fov(random_camera(96, 72, generator, split=split))
            assert 39.9 < fov < 110.1
            assert (low - 0.01 <= fov <= high + 0.01) == (split == 'heldout')
    with pytest.raises(MetricDepthError, match='holds no angle'):
        random_camera(96, 72, generator, fov_deg=(71.0, 79.0), split='train')


@pytest.mark.parametrize('lens', LENSES)
def test_every_pixel_of_a_random_camera_has_a_ray(lens):
    generator = seeded(4)
    for fov in (40.0, 75.0, 110.0):
        camera = random_camera(96, 72, generator, fov_deg=(fov, fov), lens=lens)
        assert camera.distortion_model == lens
        assert geometry.rays(camera).isfinite().all()


def extent(scenes) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of the axis-aligned box around one scene's solids."""
    solid = scenes.kind[0] != Kind.NONE
    reach = (scenes.rotation[0].abs() @ scenes.half_size[0, :, :, None])[solid, :, 0]
    centre = scenes.centre[0][solid]
    return (centre - reach).amin(0), (centre + reach).amax(0)


def drawn(things, **switches):
    b = SceneBuilder(Random(3), 'train', outdoor=True, content=Content(**switches))
    for thing in things:
        b.place(thing, 1.0, 2.0, 0.0, 0.7)
    return b


def test_without_parts_a_thing_is_the_box_around_it():
    parts, box = drawn([chair]), drawn([chair], parts=False)
    assert len(parts.rows) > 5
    assert len(box.rows) == 1
    # A box turned like the thing: seen along the axes it reaches at least as far, and no
    # higher or lower.
    low, high = extent(stack([parts]))
    box_low, box_high = extent(stack([box]))
    torch.testing.assert_close(box_low[2], low[2])
    torch.testing.assert_close(box_high[2], high[2])
    assert (box_low <= low + 1e-4).all()
    assert (box_high >= high - 1e-4).all()
    assert (box_high - box_low < 2 * (high - low)).all()


def test_people_stand_on_the_ground_are_of_human_size_and_can_be_left_out():
    for seed in range(8):
        b = SceneBuilder(Random(seed), 'train', outdoor=True)
        b.place(person, 0, 0)
        low, high = extent(stack([b]))
        assert abs(low[2]) < 0.06
        assert 0.95 < high[2] < 2.05
        assert (high - low)[:2].max() < 1.3
    assert not drawn([person, sitter], people=False).rows


@pytest.mark.parametrize('switch', ['parts', 'clutter', 'people', 'arrangement'])
def test_every_switch_of_content_changes_scenes(switch):
    def counts(content):
        scenes = make_scenes('indoor', 24, seeded(5), content=content)
        return (scenes.kind != Kind.NONE).sum(1)

    full, less = counts(Content()), counts(Content(**{switch: False}))
    assert not torch.equal(full, less)
    if switch == 'parts':
        assert less.float().mean() < 0.7 * full.float().mean()


@pytest.mark.parametrize('split', ['train', 'heldout'])
def test_wide_roads_are_a_switch_and_level_ground_to_drive_on(split):
    for road in {*ROADS[split]}:
        b = SceneBuilder(Random(2), split, outdoor=True)
        road(b)
        scenes = stack([b])
        low, high = extent(scenes)
        assert -1.01 < low[2] < -0.9  # the ground's box, a metre thick
        assert 4 < high[2] < 60
        assert not set(LAYOUTS[split]) & {road}
        # Nothing but the ground is below a camera at the middle of the road.
        down = cast(scenes, torch.tensor([[0.0, 0.0, 1.5]]), torch.tensor([[[[0.0, 0.0, -1.0]]]]))
        assert 1.0 < down.ray_distance.item() < 1.51
    narrow = Content(wide_roads=False)
    scenes = make_scenes('outdoor', 24, seeded(5), split=split, content=narrow)
    assert not torch.equal(
        (scenes.kind != Kind.NONE).sum(1),
        (make_scenes('outdoor', 24, seeded(5), split=split).kind != Kind.NONE).sum(1),
    )


def test_clutter_can_be_left_out():
    small = [small_thing, floor_thing, crates]
    assert len(drawn(small).rows) >= 3
    assert not drawn(small, clutter=False).rows


def test_rods_reach_from_one_end_to_the_other():
    b = SceneBuilder(Random(0), 'train', outdoor=True)
    start, end = torch.tensor([0.2, -0.1, 0.3]), torch.tensor([-0.4, 0.5, 1.0])
    b.rod(tuple(start.tolist()), tuple(end.tolist()), 0.02, b.material('metal'))
    scenes = stack([b])
    axis = scenes.rotation[0, 0, :, 2] * scenes.half_size[0, 0, 2]
    torch.testing.assert_close(scenes.centre[0, 0] + axis, end, atol=1e-5, rtol=0)
    torch.testing.assert_close(scenes.centre[0, 0] - axis, start, atol=1e-5, rtol=0)


def test_floors_give_each_place_once():
    floor = Floor()
    assert floor.take(0, 0, 1.0, 2.0)
    assert not floor.take(0.9, 0, 1.0, 1.0)
    assert floor.take(1.1, 0, 1.0, 1.0)
    assert not floor.take(0, 1.4, 1.0, 1.0, math.pi / 4)
    assert floor.take(0, 1.6, 1.0, 1.0)

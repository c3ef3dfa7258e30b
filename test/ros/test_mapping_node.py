"""mapping_node over real DDS: a map that grows, bad input that does not spoil it, files."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('rclpy')
pytest.importorskip('open3d')

from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.splat import SEED_OPACITY
from metric_depth_ros.mapping.trajectory import read_trajectory

from .mapping_rig import SETTINGS, MapRig, off_the_walls, points_of, type_named

Views = Callable[[int], View]
Make = Callable[..., MapRig]


@pytest.fixture
def make_rig(ros_context: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    rigs = []

    def make(*, direct: bool = False, **overrides: Any) -> MapRig:
        name = ''.join(c if c.isalnum() else '_' for c in request.node.name).strip('_')
        parameters = SETTINGS | {'folder': str(tmp_path / 'maps')} | overrides
        rigs.append(MapRig(ros_context, f'/{name}_{len(rigs)}', parameters, direct))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def place(pose: Any) -> list[float]:
    return [pose.position.x, pose.position.y, pose.position.z]


def test_map_grows_while_views_come(make_rig: Make, corner_view: Views):
    rig = make_rig().start()
    sizes = []
    for number in (0, 12, 24):
        rig.play(corner_view(number))
        rig.wait(lambda: len(rig.received['map/points']) > len(sizes))
        sizes.append(rig.received['map/points'][-1].width)
    assert sizes == sorted(sizes)
    assert sizes[0] * 1.2 < sizes[-1]
    cloud = rig.received['map/points'][-1]
    assert cloud.header.frame_id == 'odom'
    assert off_the_walls(points_of(cloud)).mean() < 0.02
    rig.wait(lambda: rig.received['map/mesh'] and len(rig.received['map/mesh'][-1].points) > 900)
    marker = rig.received['map/mesh'][-1]
    corners = torch.tensor([[p.x, p.y, p.z] for p in marker.points])
    assert off_the_walls(corners).mean() < 0.02
    assert len(marker.colors) == len(marker.points)
    rig.wait(lambda: len(rig.received['map/odometry']) == 3)
    rig.wait(lambda: len(rig.received['map/path'][-1].poses) == 3)
    for number, message in zip((0, 12, 24), rig.received['map/odometry'], strict=True):
        truth = corner_view(number).world_from_camera[:3, 3].tolist()
        assert place(message.pose.pose) == pytest.approx(truth, abs=1e-6)
        assert (message.header.frame_id, message.child_frame_id) == ('odom', 'camera')
    rig.wait(lambda: rig.count('frames') == 3)
    assert 0 < rig.count('blocks') < rig.count('max_blocks')


def test_without_poses_it_finds_them(make_rig: Make, corner_view: Views):
    rig = make_rig(poses='own').start()
    for number in range(3):
        rig.send_frame(corner_view(number))
        rig.wait(lambda count=number + 1: rig.frames() == count)
    rig.wait(lambda: len(rig.received['map/odometry']) == 3)
    for number, message in enumerate(rig.received['map/odometry']):
        truth = corner_view(number).world_from_camera[:3, 3].tolist()
        assert place(message.pose.pose) == pytest.approx(truth, abs=0.02)
        assert message.header.frame_id == 'map'


def test_poses_as_pose_stamped_and_before_their_frames(make_rig: Make, corner_view: Views):
    rig = make_rig(poses='pose').start()
    for number in range(2):
        rig.send_pose(corner_view(number))
    for number in range(2):
        rig.send_frame(corner_view(number))
        rig.wait(lambda count=number + 1: rig.frames() == count)
    rig.wait(lambda: rig.received['map/points'])
    assert off_the_walls(points_of(rig.received['map/points'][-1])).mean() < 0.02


def test_pose_between_two_is_interpolated(make_rig: Make, corner_view: Views):
    rig = make_rig().start()
    rig.send_frame(corner_view(1))
    for number in (0, 2):
        rig.send_odometry(corner_view(number))
    rig.wait(lambda: rig.received['map/odometry'])
    truth = corner_view(1).world_from_camera[:3, 3].tolist()
    assert place(rig.received['map/odometry'][0].pose.pose) == pytest.approx(truth, abs=1e-6)


def test_poses_of_another_body_need_its_camera(make_rig: Make, corner_view: Views):
    view = corner_view(0)
    rig = make_rig().start()
    rig.send_frame(view)
    rig.send_odometry(view, child='base_link')
    rig.wait_for_warning("poses are of 'base_link', images of 'camera'", 'body_from_camera')
    assert rig.frames() == 0

    rig = make_rig(body_from_camera='0.1 0 -0.2 0 0 0 1').start()
    rig.send_frame(view)
    rig.send_odometry(view, child='base_link')
    rig.wait(lambda: rig.received['map/odometry'])
    assert place(rig.received['map/odometry'][0].pose.pose) == pytest.approx([0.1, 0, -0.2])


def test_poses_from_transforms(make_rig: Make, corner_view: Views):
    tf2_msgs = pytest.importorskip('tf2_msgs.msg')
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from metric_depth_ros.messages.poses import transform_message

    rig = make_rig(poses='tf', map_frame='odom').start()
    static = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    topics = {
        topic: rig.client.create_publisher(tf2_msgs.TFMessage, topic, qos)
        for topic, qos in (('/tf', 10), ('/tf_static', static))
    }
    rig.wait(lambda: all(p.get_subscription_count() for p in topics.values()))
    mounting = torch.eye(4, dtype=torch.float64)
    mounting[:3, 3] = torch.tensor([0.1, 0.0, -0.2])

    def send(topic: str, pose: torch.Tensor, stamp_ns: int, parent: str, child: str) -> None:
        header = rig.header(stamp_ns, parent)
        transform = transform_message(pose, header, child, type_named)
        topics[topic].publish(tf2_msgs.TFMessage(transforms=[transform]))

    send('/tf_static', mounting, 0, 'base_link', 'camera')
    view = corner_view(0)
    rig.send_frame(view)
    for stamp_ns in (900_000_000, 1_100_000_000):
        send('/tf', view.world_from_camera, stamp_ns, 'odom', 'base_link')
    rig.wait(lambda: rig.received['map/odometry'])
    message = rig.received['map/odometry'][0]
    assert place(message.pose.pose) == pytest.approx([0.1, 0, -0.2])
    assert message.header.frame_id == 'odom'


def test_tf_without_its_messages_is_refused(make_rig: Make):
    if find_spec('tf2_msgs') is not None:
        pytest.skip('tf2_msgs is installed')
    rig = make_rig(poses='tf')
    assert not rig.node.start()
    rig.wait_for_warning('cannot begin a map', 'tf2_msgs is not installed', 'expected own')


def test_poses_that_never_match_in_time(make_rig: Make, corner_view: Views):
    rig = make_rig(pose_patience=0.1).start()
    view = corner_view(0)
    for second in (100, 101, 102):
        rig.send_odometry(view, stamp_ns=second * 1_000_000_000)
    rig.send_frame(view)
    warning = rig.wait_for_warning('no pose at 1.000 s', 'do image and pose use one clock?')
    assert '\n' not in warning
    rig.wait(lambda: rig.count('failed') == 1)
    assert rig.frames() == 0


def test_bad_poses_are_refused_and_the_map_is_kept(make_rig: Make, corner_view: Views):
    rig = make_rig(pose_patience=0.1).start()
    rig.play(corner_view(0))
    broken = corner_view(1).world_from_camera.clone()
    broken[0, 3] = torch.nan
    rig.send_odometry(corner_view(1), pose=broken)
    rig.wait_for_warning('/odom: pose of camera in odom is', 'expected finite numbers')
    far = corner_view(2).world_from_camera.clone()
    far[0, 3] += 100
    rig.send_odometry(corner_view(2), pose=far)
    rig.wait_for_warning('/odom: pose at 1.200 s refused: 100.1 m from the one before')
    rig.wait(lambda: rig.count('poses_refused') == 2)
    rig.send_frame(corner_view(2))
    rig.wait_for_warning('frame refused: no pose at 1.200 s')
    rig.play(corner_view(3))  # and it goes on
    assert rig.frames() == 2
    rig.wait(lambda: rig.received['map/points'])
    assert points_of(rig.received['map/points'][-1]).abs().max() < 5


def test_depth_of_other_images(make_rig: Make, corner_view: Views):
    rig = make_rig().start()
    words = ('no message of the same stamp', 'expected depth of the images')
    stamps_ns = itertools.count(1_000_000_000, 100_000_000)

    def warned_after_one_more() -> bool:
        # Not a burst: of that the subscription keeps the last five, too few to warn of.
        rig.send_frame(corner_view(0), image=False, stamp_ns=next(stamps_ns))
        time.sleep(0.05)
        return any(all(word in warning for word in words) for warning in rig.warnings())

    rig.wait(warned_after_one_more)
    warning = rig.wait_for_warning(*words)
    assert f'{rig.namespace}/image (none waits)' in warning
    assert rig.frames() == 0


def test_memory_limit_is_told_and_kept(make_rig: Make, corner_view: Views):
    rig = make_rig(memory_mb=16, voxel_size=0.015, publish_max_points=500).start()
    for number in (0, 12, 24):
        rig.play(corner_view(number))
    rig.wait_for_warning('memory_mb is reached', 'far blocks moved to')
    rig.wait(lambda: rig.count('frames') == 3)
    assert rig.count('blocks') <= rig.count('max_blocks')
    assert rig.count('blocks_dropped') + rig.count('blocks_refused') > 0
    assert rig.status().level == b'\1'
    assert 'memory_mb is reached' in rig.status().message
    rig.wait(lambda: rig.received['map/points'])
    assert 0 < rig.received['map/points'][-1].width <= 500


def test_save_by_service(make_rig: Make, corner_view: Views, tmp_path: Path):
    rig = make_rig().start()
    answer = rig.save()
    assert not answer.success
    assert 'no frame has been fused yet' in answer.message
    rig.play(corner_view(0))
    answer = rig.save()
    assert answer.success, answer.message
    (folder,) = (tmp_path / 'maps').iterdir()
    assert str(folder) in answer.message
    assert off_the_walls(read_mesh(folder / 'mesh.ply').vertices).mean() < 0.02
    assert len(read_trajectory(folder / 'trajectory.txt')) == 1


def test_gaussians_are_made_while_no_frame_waits(
    make_rig: Make, corner_view: Views, tmp_path: Path
):
    rig = make_rig(splat='always', splat_steps=2).start()
    rig.play(corner_view(0))
    rig.wait(lambda: rig.count('key_frames') == 1)
    rig.wait(lambda: not rig.node.keeper.wants_refinement)
    with rig.node.keeper.using() as mapper:
        moved = (mapper.splat.gaussians.opacities - SEED_OPACITY).abs()
    assert moved.max() > 1e-3
    assert 'splat.ply' in rig.save().message
    assert rig.count('gaussians') > 100


def test_full_disk_while_saving(make_rig: Make, corner_view: Views, tmp_path: Path):
    rig = make_rig().start()
    rig.play(corner_view(0))
    assert rig.save().success
    (folder,) = (tmp_path / 'maps').iterdir()
    old = (folder / 'mesh.ply').read_bytes()
    (folder / 'mesh.ply.unfinished').symlink_to('/dev/full')
    rig.play(corner_view(24))
    answer = rig.save()
    assert not answer.success
    assert 'mesh.ply: No space left on device; the map is still in memory' in answer.message
    assert (folder / 'mesh.ply').read_bytes() == old
    answer = rig.save()  # there is room again: the link has gone
    assert answer.success, answer.message
    assert len((folder / 'mesh.ply').read_bytes()) > len(old)


def test_clean_up_saves_and_the_next_map_is_another(
    make_rig: Make, corner_view: Views, tmp_path: Path
):
    rig = make_rig().start()
    rig.play(corner_view(0))
    assert rig.node.trigger_deactivate() == rig.node.trigger_cleanup()
    assert rig.node.keeper is None
    rig.start()
    rig.play(corner_view(1))
    assert rig.frames() == 1
    rig.node.trigger_deactivate()
    rig.node.trigger_cleanup()
    folders = sorted((tmp_path / 'maps').iterdir())
    stamps = [read_trajectory(folder / 'trajectory.txt').stamps_ns for folder in folders]
    assert stamps == [(1_000_000_000,), (1_100_000_000,)]


def test_depth_node_in_the_same_process_hands_over(
    make_rig: Make, corner_view: Views, model_folder: Path
):
    from rclpy.parameter import Parameter

    from metric_depth_ros.ros.depth_node import DepthNode

    # What a random model says is no depth to gate by.
    loose = {'max_depth': 1000.0, 'max_relative_std': 1e9, 'max_jump': 1e9, 'voxel_size': 5.0}
    rig = make_rig(direct=True, poses='pose', **loose)
    overrides = {'model': str(model_folder), 'device': 'cpu', 'qos_subscribe': 'reliable'}
    depth = DepthNode(
        context=rig.node.context,
        namespace=rig.namespace,
        parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
    )
    predicted, fused = [], []
    depth.on_prediction = lambda frame, prediction: (
        predicted.append(prediction),
        rig.node.hand_over(frame, prediction),
    )
    rig.executor.add_node(depth)
    assert rig.node.start()
    add = rig.node.keeper.add
    rig.node.keeper.add = lambda *one: (fused.append(one[1]), add(*one))[1]
    try:
        assert depth.start()
        rig.wait(rig.images.get_subscription_count)
        view = corner_view(0)
        rig.infos_of_camera.publish(rig.camera_info(view))
        rig.send_pose(view)
        rig.send_frame(view)
        rig.wait(lambda: fused)
        rig.wait(lambda: rig.count('received') == 1)
        assert fused[0] is predicted[0]
        assert rig.depths.get_subscription_count() == 0
    finally:
        depth.stop()


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('body_from_camera', '1 2 3', 'expected x y z qx qy qz qw'),
        ('min_depth', 20.0, 'gate min_depth is 20.0, expected from 0 to max_depth'),
        ('device', 'gpu', "device is 'gpu', expected auto, cpu, cuda"),
        ('folder', '/dev/null/maps', "folder is '/dev/null/maps', expected a folder"),
    ],
)
def test_configuration_fails_in_one_line(make_rig: Make, name: str, value: Any, words: str):
    rig = make_rig(**{name: value})
    assert not rig.node.start()
    error = rig.wait_for_warning('cannot begin a map', words)
    assert '\n' not in error

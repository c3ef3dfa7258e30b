"""mapping_node live on a bag: how the map grows, what memory it takes, what a frame is copied.

python test/ros/benchmark_live.py
python test/ros/benchmark_live.py --memory-mb 1500 20 --json live.json
python test/ros/benchmark_live.py --bag drive.mcap --model default --rate 0.1

The nodes run as processes of their own and are played to over DDS. Without --bag one is rendered,
as by `metric-depth render --bag --scenes indoor --lens none --size 640x480 --frames 14 --rate 1`.
Without --model its true depth is published, with a standard deviation of 0.5 %; with it,
depth_node predicts it beside mapping_node.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from mapping_rig import Player
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs import msg as sensor_msgs

from metric_depth_ros.cli.main import main as metric_depth
from metric_depth_ros.fusing.recordings import Recorded, open_recording
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.messages import (
    depth_fields,
    depth_from_message,
    frame_from_messages,
    image_fields,
    rclpy_message,
    std_from_message,
)
from metric_depth_ros.ros.child_node import large_message_profile
from metric_depth_ros.types import DepthPrediction

RELATIVE_STD = 0.005
REPEATS = 30
QUIET_S = 3.0  # after the last frame: what is still on its way is fused


@dataclass(frozen=True)
class Moment:
    """sent: frames so far. points: of the last map/points. megabytes: resident, of the process."""

    seconds: float
    sent: int
    fused: int
    blocks: int
    points: int
    megabytes: float


@dataclass(frozen=True)
class Played:
    """One bag through one node.

    limit_mb: memory_mb. blocks of max_blocks at the end; dropped, refused: at that limit. peak_mb:
    resident, of the process. triangles: of the mesh that it saved when it was stopped.
    """

    limit_mb: int
    moments: list[Moment]
    max_blocks: int
    dropped: int
    refused: int
    peak_mb: float
    triangles: int


@dataclass(frozen=True)
class Copy:
    """One step of a frame's way. milliseconds: the best of some; copied: its bytes, once more."""

    step: str
    milliseconds: float
    copied: bool


def render(folder: Path) -> Path:
    bag = folder / 'walk'
    command = ['render', '--out', str(bag), '--bag', '--scenes', 'indoor', '--lens', 'none']
    if metric_depth([*command, '--size', '640x480', '--frames', '14', '--rate', '1']):
        sys.exit('the bag could not be rendered')
    return bag


def views(bag: Path) -> Iterator[View]:
    """With true depth, where there is any, and its assumed standard deviation."""
    for item in open_recording(bag):
        if isinstance(item, Recorded) and item.world_from_camera is not None:
            frame = item.frame
            size = frame.camera.height, frame.camera.width
            depth = torch.full(size, torch.nan) if item.depth is None else item.depth
            known = DepthPrediction(
                depth, RELATIVE_STD * depth, frame.camera, frame.stamp_ns, frame.frame_id
            )
            yield View(frame, known, item.world_from_camera)


@contextmanager
def node(name: str, namespace: str, **parameters: Any) -> Iterator[subprocess.Popen]:
    """A node of this package as a process; stopped as by Ctrl-C."""
    words = [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
    process = subprocess.Popen(
        [sys.executable, '-m', f'metric_depth_ros.ros.{name}', '--ros-args']
        + ['-r', f'__ns:={namespace}', *words]
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        if process.wait(120):
            sys.exit(f'{name} ended with exit status {process.returncode}')
    finally:
        process.kill()
        process.wait()


class Ear:
    """Hears what the node says of its map."""

    def __init__(self, client: Any, namespace: str) -> None:
        self.points = 0
        self.counts: dict[str, str] = {}
        self._name = f'{namespace}/mapping_node: map'
        client.create_subscription(sensor_msgs.PointCloud2, 'map/points', self._hear_points, 10)
        client.create_subscription(DiagnosticArray, '/diagnostics', self._hear_counts, 10)

    def count(self, key: str) -> int:
        return int(self.counts.get(key, 0))

    def _hear_points(self, message: Any) -> None:
        self.points = message.width

    def _hear_counts(self, message: Any) -> None:
        for status in message.status:
            if status.name == self._name:
                self.counts = {pair.key: pair.value for pair in status.values}


def resident(pid: int, key: str) -> float:
    """Megabytes; key: VmRSS for now, VmHWM for the most so far."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6


def play(bag: Path, limit_mb: int, arguments: argparse.Namespace, context: Any) -> Played:
    namespace = f'/live_{os.getpid()}_{limit_mb}'
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = rclpy.create_node('player', context=context, namespace=namespace)
        stack.callback(client.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(client)
        player, ear = Player(client), Ear(client, namespace)
        if arguments.model:
            stack.enter_context(node('depth_node', namespace, model=arguments.model))
        mapping = node(
            'mapping_node', namespace, poses='odometry', qos_subscribe='reliable',
            memory_mb=limit_mb, voxel_size=arguments.voxel, publish_period=0.5, folder=folder,
        )  # fmt: skip
        with mapping as process:
            heard = [player.images, player.odometry]
            heard += [] if arguments.model else [player.depths, player.stds]
            while not all(p.get_subscription_count() for p in heard) or not ear.counts:
                executor.spin_once(0.1)
            moments = list(_moments(bag, player, ear, executor, process.pid, arguments))
            peak = resident(process.pid, 'VmHWM')
        (mesh,) = folder.glob('*/mesh.ply')
        return Played(
            limit_mb, moments, ear.count('max_blocks'), ear.count('blocks_dropped'),
            ear.count('blocks_refused'), peak, len(read_mesh(mesh).triangles),
        )  # fmt: skip


def _moments(
    bag: Path,
    player: Player,
    ear: Ear,
    executor: Any,
    pid: int,
    arguments: argparse.Namespace,
) -> Iterator[Moment]:
    """Play the bag at its own pace times --rate; a moment a second."""
    began, first_ns, sent, next_s = time.monotonic(), None, 0, 1.0

    def moment() -> Moment:
        passed, counts = time.monotonic() - began, (ear.count('frames'), ear.count('blocks'))
        return Moment(round(passed, 1), sent, *counts, ear.points, resident(pid, 'VmRSS'))

    for view in views(bag):
        first_ns = view.frame.stamp_ns if first_ns is None else first_ns
        due = (view.frame.stamp_ns - first_ns) / 1e9 / arguments.rate
        while time.monotonic() - began < due:
            executor.spin_once(0.01)
        player.send_odometry(view, child=view.frame.frame_id)
        if arguments.model:
            player.infos_of_camera.publish(player.camera_info(view))
            header = player.header(view.frame.stamp_ns, view.frame.frame_id)
            image = rclpy_message(image_fields(view.frame.image), header, sensor_msgs)
            player.images.publish(image)
        else:
            player.send_frame(view)
        sent += 1
        if time.monotonic() - began >= next_s:
            next_s = time.monotonic() - began + 1.0
            yield moment()
    quiet, fused = time.monotonic(), -1
    while time.monotonic() - quiet < QUIET_S:
        executor.spin_once(0.1)
        if ear.count('frames') > fused:
            quiet, fused = time.monotonic(), ear.count('frames')
    yield moment()


def copies(player: Player, view: View) -> list[Copy]:
    """What a frame costs between two processes, beside DDS: step by step."""
    header = player.header(view.frame.stamp_ns, view.frame.frame_id)

    def message_of(values: torch.Tensor) -> Any:
        return rclpy_message(depth_fields(values), header, sensor_msgs)

    depth, std = message_of(view.prediction.depth), message_of(view.prediction.std)
    image = rclpy_message(image_fields(view.frame.image), header, sensor_msgs)
    info, sent = player.camera_info(view), serialize_message(depth)

    def shares(tensor: torch.Tensor, message: Any) -> bool:
        begin, count = message.data.buffer_info()
        return begin <= tensor.data_ptr() < begin + count

    def step(name: str, act: Callable[[], Any], result: Any, message: Any) -> Copy:
        return Copy(name, _best(act), not shares(result, message))

    return [
        Copy('depth to message', _best(lambda: message_of(view.prediction.depth)), True),
        Copy('message to DDS', _best(lambda: serialize_message(depth)), True),
        Copy('DDS to message', _best(lambda: deserialize_message(sent, sensor_msgs.Image)), True),
        step(
            'message to depth', lambda: depth_from_message(depth), depth_from_message(depth), depth
        ),
        step('message to uncertainty', lambda: std_from_message(std), std_from_message(std), std),
        step(
            'message to image',
            lambda: frame_from_messages(image, info),
            frame_from_messages(image, info).image,
            image,
        ),
    ]


def _best(act: Callable[[], object]) -> float:
    """Milliseconds of CPU, of the quickest run."""
    times = []
    for _ in range(REPEATS):
        began = time.thread_time()
        act()
        times.append(time.thread_time() - began)
    return 1e3 * min(times)


def show(played: Played) -> None:
    print(f'memory_mb {played.limit_mb}: room for {played.max_blocks} blocks')
    print('     s   sent  fused  blocks   points  resident MB')
    for at in played.moments:
        numbers = f'{at.seconds:6.1f} {at.sent:6} {at.fused:6} {at.blocks:7} {at.points:8}'
        print(f'{numbers} {at.megabytes:12.0f}')
    print(
        f'most: {played.peak_mb:.0f} MB; {played.dropped} blocks moved to disk, {played.refused} '
        f'refused; {played.triangles} triangles saved',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--bag', type=Path, help='with poses and, without --model, true depth')
    parser.add_argument('--model', help='a depth_node with it runs beside')
    parser.add_argument('--rate', type=float, default=1.0, help='of play, over that of the bag')
    parser.add_argument('--voxel', type=float, default=0.03, metavar='METRES')
    parser.add_argument(
        '--memory-mb', type=int, nargs='+', default=[1500, 20], help='one run with each'
    )
    parser.add_argument('--json', type=Path, metavar='FILE')
    arguments = parser.parse_args()
    os.environ.update(large_message_profile())
    context = rclpy.Context()
    rclpy.init(context=context)
    with tempfile.TemporaryDirectory() as folder:
        bag = arguments.bag or render(Path(folder))
        played = []
        for limit_mb in arguments.memory_mb:
            played.append(play(bag, limit_mb, arguments, context))
            show(played[-1])
        client = rclpy.create_node('steps', context=context)
        steps = copies(Player(client), next(views(bag)))
        client.destroy_node()
    for step in steps:
        print(f'{step.step:30} {step.milliseconds:6.2f} ms{"" if step.copied else ", no copy"}')
    if arguments.json:
        result = {'played': [asdict(p) for p in played], 'copies': [asdict(s) for s in steps]}
        arguments.json.write_text(json.dumps(result, indent=1) + '\n')
    context.shutdown()


if __name__ == '__main__':
    main()

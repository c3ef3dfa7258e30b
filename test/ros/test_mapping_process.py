"""mapping_node as a process: signals save its map, and being killed does not cost it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('open3d')

from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.trajectory import read_trajectory

from .mapping_rig import SETTINGS, Player, off_the_walls

Views = Callable[[int], View]
_PROCESSES = itertools.count()


class Process:
    """mapping_node as a process of its own, and who plays a view to it."""

    def __init__(self, context: Any, view: View, folder: Path, **parameters: Any) -> None:
        import rclpy
        from nav_msgs.msg import Odometry
        from rclpy.executors import SingleThreadedExecutor

        values = SETTINGS | {'folder': str(folder), 'poses': 'own'} | parameters
        arguments = [word for name, v in values.items() for word in ('-p', f'{name}:={v}')]
        namespace = f'/process_{next(_PROCESSES)}'
        self._log = (folder / 'log').open('w+')
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'metric_depth_ros.ros.mapping_node', '--ros-args']
            + ['-r', f'__ns:={namespace}', *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._client = rclpy.create_node('player', context=context, namespace=namespace)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._client)
        self._view, self._player = view, Player(self._client)
        self._heard: list[Any] = []
        self._client.create_subscription(Odometry, 'map/odometry', self._heard.append, 10)

    def start_map(self) -> None:
        """Wait until the node hears, and play the view until it is in the map."""
        self._wait(
            lambda: (
                self._player.stds.get_subscription_count()
                and self._client.count_publishers('map/odometry')
            )
        )
        self.play_until(lambda: self._heard)

    def play_until(self, condition: Callable[[], Any]) -> None:
        """Send the view again and again."""
        self._wait(condition, lambda: self._player.send_frame(self._view))

    def _wait(self, condition: Callable[[], Any], act: Callable[[], Any] = lambda: None) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < deadline
            act()
            self._executor.spin_once(0.1)

    def end(self, number: signal.Signals) -> int:
        """Send a signal; the exit status."""
        self._process.send_signal(number)
        return self._process.wait(60)

    def output(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._executor.shutdown()
        self._client.destroy_node()


@pytest.mark.parametrize(
    'number',
    [
        pytest.param(signal.SIGTERM, id='SIGTERM'),
        pytest.param(signal.SIGINT, id='SIGINT', marks=pytest.mark.slow),
    ],
)
def test_signals_save_the_map(
    ros_context: Any, corner_view: Views, tmp_path: Path, number: signal.Signals
):
    with closing(Process(ros_context, corner_view(0), tmp_path)) as process:
        process.start_map()
        assert process.end(number) == 0, process.output()
        output = process.output()
    assert 'Traceback' not in output
    assert 'saved in' in output
    (mesh,) = tmp_path.glob('*/mesh.ply')
    assert off_the_walls(read_mesh(mesh).vertices).mean() < 0.02
    assert not list(tmp_path.glob('*/*.unfinished'))


def test_what_was_saved_by_itself_outlives_a_kill(
    ros_context: Any, corner_view: Views, tmp_path: Path
):
    with closing(Process(ros_context, corner_view(0), tmp_path, autosave_s=0.1)) as process:
        process.start_map()
        process.play_until(lambda: list(tmp_path.glob('*/cloud.ply')))  # written last
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    (mesh,) = tmp_path.glob('*/mesh.ply')
    assert off_the_walls(read_mesh(mesh).vertices).mean() < 0.02
    assert len(read_trajectory(mesh.with_name('trajectory.txt'))) >= 1

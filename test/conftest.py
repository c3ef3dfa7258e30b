"""Set up before any test is imported: a ROS domain of its own, and where the shared data lies."""

from __future__ import annotations

import fcntl
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.mapping import View
from metric_depth_ros.types import Camera, DepthPrediction, Frame

# Processes that run tests side by side share the cores, and so do the processes they start.
if 'PYTEST_XDIST_WORKER_COUNT' in os.environ:
    side_by_side = int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
    threads = max(1, torch.get_num_threads() // side_by_side)
    torch.set_num_threads(threads)
    os.environ['OMP_NUM_THREADS'] = str(threads)

REPOSITORY = Path(__file__).resolve().parent.parent


def claim_ros_domain() -> tuple[int, IO[str]]:
    """A ROS domain that no other test process of this machine uses while the file stays open.

    1 to 100: above that the ports of DDS run into the ones Linux hands out.
    """
    for domain in range(1, 101):
        path = Path(tempfile.gettempdir(), f'metric_depth_ros_domain_{domain}.lock')
        lock = path.open('w')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return domain, lock
    raise RuntimeError('all ROS domains from 1 to 100 are taken by test processes')


# rclpy reads the environment when it is initialised, and children inherit it.
ROS_DOMAIN, _domain_lock = claim_ros_domain()
os.environ['ROS_DOMAIN_ID'] = str(ROS_DOMAIN)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if 'HOME' not in os.environ:
    os.environ.setdefault('ROS_LOG_DIR', tempfile.gettempdir())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files with slow tests first, so that no process is left with one of them in the end.
    slow = {item.path for item in items if 'slow' in item.keywords}
    items.sort(key=lambda item: item.path not in slow)
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.fixture(scope='session')
def corner_view() -> Callable[[int], View]:
    """View number n, 0.1 s apart, of a camera that moves before the patterned corner of a room.

    Walls at x = 1 and z = 2.5 metres, floor at y = 0.7; depth is exact, its std 1 % of it.
    """
    camera = Camera(55.0, 55.0, 31.5, 23.5, 64, 48)
    rays = geometry.rays(camera, dtype=torch.float64)

    def view(number: int) -> View:
        turn = 0.02 * number
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 0] = pose[2, 2] = math.cos(turn)
        pose[0, 2], pose[2, 0] = math.sin(turn), -math.sin(turn)
        pose[0, 3] = 0.04 * number
        directions = rays @ pose[:3, :3].T
        distances = (torch.tensor([1.0, 0.7, 2.5]) - pose[:3, 3]) / directions
        distance = torch.where(distances > 0, distances, torch.inf).amin(-1)
        points = pose[:3, 3] + distance[..., None] * directions
        pattern = 127 + 100 * torch.sin(9 * points) * torch.sin(7 * points.roll(1, -1) + 1)
        depth = (distance * rays[..., 2]).float()
        stamp_ns = 1_000_000_000 + number * 100_000_000
        prediction = DepthPrediction(depth, 0.01 * depth, camera, stamp_ns, 'camera')
        return View(Frame(pattern.byte(), camera, stamp_ns, 'camera'), prediction, pose)

    return view


@pytest.fixture(scope='session')
def repository() -> Path:
    """The checkout, where launch/, config/ and package.xml lie."""
    return REPOSITORY


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder with the real sequence and the bags; lies beside the checkout, never in it."""
    folder = REPOSITORY.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip(f'real data not present: {folder}')
    return folder

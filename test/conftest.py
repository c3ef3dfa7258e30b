"""Set up before any test is imported: a ROS domain of its own, and where the shared data lies."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

import pytest
import torch

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
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


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

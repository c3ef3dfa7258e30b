"""The same code serves both libraries, so it may need neither."""

from __future__ import annotations

import subprocess
import sys


def test_neither_library_is_imported() -> None:
    code = (
        'import sys, metric_depth_ros.messages; '
        "print(*sorted({'rclpy', 'rosbags', 'sensor_msgs', 'cv_bridge'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ''

"""Life and death of depth_node: transitions, signals, exit status; each as a process or a node."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')


def call(rig: Any, transition: str) -> bool:
    """As `ros2 lifecycle set` does it, by the node's service."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    service = f'{rig.node.get_fully_qualified_name()}/change_state'
    client = rig.client.create_client(ChangeState, service)
    assert client.wait_for_service(10)
    identifier = getattr(Transition, f'TRANSITION_{transition.upper()}')
    future = client.call_async(ChangeState.Request(transition=Transition(id=identifier)))
    rig.wait(future.done)
    return future.result().success


def test_transitions_by_service(make_rig):
    rig = make_rig(autostart=False)
    assert not call(rig, 'activate')  # before it is configured
    assert call(rig, 'configure')
    assert rig.images.get_subscription_count() == 0
    for stamp in (1, 2):  # twice round: what was stopped can be started again
        assert call(rig, 'activate')
        rig.wait_connected()
        rig.send_info()
        rig.send_image(stamp)
        rig.expect(stamp, 'depth/image', 'depth/points')
        assert call(rig, 'deactivate')
        rig.wait(lambda: rig.images.get_subscription_count() == 0)
    assert call(rig, 'cleanup')
    rig.wait(lambda: not any(rig.publisher_counts()))
    assert call(rig, 'unconfigured_shutdown')
    rig.wait(lambda: rig.status()['state'] == 'inactive')


def test_configuration_fails_in_one_line_and_can_be_repaired(make_rig, model_folder):
    from rclpy.parameter import Parameter

    rig = make_rig(autostart=False, model='no_such_model')
    assert not call(rig, 'configure')
    rig.wait(rig.warnings)
    (error,) = rig.warnings()
    assert "'no_such_model'" in error
    assert 'expected' in error
    assert '\n' not in error
    rig.node.set_parameters([Parameter('model', value=str(model_folder))])
    assert call(rig, 'configure')


class Process:
    """depth_node as a child, its output in a file."""

    def __init__(self, folder: Path, name: str, *command: str) -> None:
        self.log = folder / f'{name}.log'
        with self.log.open('w') as log:
            self.child = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=subprocess.STDOUT
            )

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.log.read_text():
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """Exit status and output."""
        try:
            return self.child.wait(60), self.log.read_text()
        finally:
            self.child.kill()


# Says what it is doing, and takes its time loading a model.
SLOW_TO_LOAD = """
import sys, time
from metric_depth_ros.ros import depth_node
load = depth_node.load_predictor
def slowly(*args, **options):
    print('loading', flush=True)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(1000))
    return load(*args, **options)
depth_node.load_predictor = slowly
sys.exit(depth_node.main())
"""


def test_signals_end_the_node_cleanly_in_every_phase(tmp_path, model_folder):
    phases = (
        ('loading', signal.SIGINT),
        ('loading', signal.SIGTERM),
        ('depth of', signal.SIGTERM),  # SIGINT is how a live replay ends its node
    )
    processes = {
        phase: Process(
            tmp_path,
            f'node{index}',
            *('-c', SLOW_TO_LOAD, '--ros-args', '-p', f'model:={model_folder}'),
        )
        for index, phase in enumerate(phases)
    }
    for (text, number), process in processes.items():
        process.wait_for(text)
        process.child.send_signal(number)
    for process in processes.values():
        status, output = process.end()
        assert status == 0, output
        assert 'Traceback' not in output
        assert 'ERROR' not in output


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('-p', 'model:=/no/such/folder'), ("'/no/such/folder'", 'expected')),
        (('-p', 'samples:=0'), ('samples', 'out of range')),
        (('-p', 'depth_encoding:=8UC1'), ("'8UC1'", 'expected one of 32FC1, 16UC1')),
        (('-p',), ('trailing -p',)),
    ],
    ids=('model', 'range', 'choice', 'syntax'),
)
def test_node_that_cannot_start_says_why_and_has_status_2(arguments, words, capfd):
    from metric_depth_ros.ros import depth_node

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert depth_node.main(['depth_node', '--ros-args', *arguments]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    output = capfd.readouterr().err
    assert 'Traceback' not in output
    for word in words:
        assert word in output

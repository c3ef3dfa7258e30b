"""A depth_node in a process of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from ..errors import MetricDepthError
from .parameters import Parameters

PACKAGE = 'metric_depth_ros'
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
STOP_TIMEOUT_S = 60.0  # the node finishes the frame it is working on

_LOG_PREFIX = re.compile(r'^\[[A-Z]+\] \[[\d.]+\] \[\S+\]: ')  # severity, time, name


class NodeError(MetricDepthError):
    """depth_node could not be started, died, or did not answer."""


class ChildNode:
    """Runs depth_node with `parameters`, every topic of it (/diagnostics too) in `namespace`.

    Leaving the block stops the node as Ctrl-C would, which a terminal sends to both of us.

    Raises:
        NodeError: on leaving, if the node ended with another exit status than 0.
    """

    def __init__(self, parameters: Parameters, namespace: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix='depth_node_')
        values = {'/**': {'ros__parameters': asdict(parameters)}}
        file = Path(self._folder.name) / 'parameters.yaml'
        file.write_text(json.dumps(values))  # JSON is YAML, with the quotes that strings need
        remappings = [f'__ns:={namespace}', f'/diagnostics:={namespace}/diagnostics']
        self._log = (Path(self._folder.name) / 'log').open('w+b')
        self._process = subprocess.Popen(
            [
                *(sys.executable, '-m', f'{PACKAGE}.ros.depth_node'),
                *('--ros-args', '--params-file', str(file)),
                *(word for remapping in remappings for word in ('-r', remapping)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> ChildNode:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            status = self._stop()
            if kind is None and status != 0:
                raise NodeError(self._epitaph())
        finally:
            self._log.close()
            self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise NodeError if the node has ended."""
        if self._process.poll() is not None:
            raise NodeError(self._epitaph())

    def log_lines(self) -> list[str]:
        """What the node has written to stdout and stderr, line by line."""
        text = Path(self._log.name).read_text(errors='replace')
        return [line for line in text.splitlines() if line.strip()]

    def _stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _epitaph(self) -> str:
        last_words = (self.log_lines() or ['it said nothing'])[-1]
        return (
            f'depth_node ended with exit status {self._process.returncode}: '
            f'{_LOG_PREFIX.sub("", last_words)}'
        )


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """os.environ with `variables` in it: DDS and children of this process read them there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def large_message_profile() -> dict[str, str]:
    """The variable that gives Fast DDS enough shared memory for clouds.

    Empty where the user has chosen a profile, or where ours was not installed.
    """
    places = [Path(__file__).parents[2], Path(sys.prefix) / 'share' / PACKAGE]
    places += [
        Path(prefix) / 'share' / PACKAGE
        for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(':')
        if prefix
    ]
    files = [place / 'config' / 'fastdds_profile.xml' for place in places]
    found = next((file for file in files if file.is_file()), None)
    if found is None or PROFILE_VARIABLE in os.environ:
        return {}
    return {PROFILE_VARIABLE: str(found)}

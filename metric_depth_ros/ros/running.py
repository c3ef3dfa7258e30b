"""A node as a process: from its start to SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from ..errors import MetricDepthError


class RunnableNode(Protocol):
    """An rclpy node that can be started and stopped."""

    parameters: Any

    def start(self) -> bool:
        """Configure and activate; False if that failed, which has been logged."""

    def stop(self) -> None:
        """Finish what is in hand; ROS may be shut down already."""


def run(name: str, make: Callable[[], Sequence[RunnableNode]], args: list[str] | None) -> int:
    """Run nodes in one executor until SIGINT or SIGTERM: exit status 0; 2 if one cannot start.

    Args:
        name: of the program, for what it says on stderr.
        make: called once ROS is there. The nodes are started in their order, stopped in reverse.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends loading a model as well
    try:
        rclpy.init(args=args)
    except RuntimeError as error:  # of rclpy
        print(f'{name}: cannot parse the ROS arguments: {error}', file=sys.stderr)
        return 2
    nodes: Sequence[Any] = ()
    try:
        nodes = make()
        for node in nodes:
            if node.parameters.autostart and not node.start():
                return 2 if rclpy.ok() else 0  # a signal is no failure
        executor = SingleThreadedExecutor()  # the multi-threaded one takes four times the CPU
        for node in nodes:
            executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MetricDepthError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    except Exception:  # after a signal, any call of rclpy may fail
        if rclpy.ok():
            raise
    finally:
        # The frame in hand is finished; whoever is impatient meanwhile gets no traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for node in reversed(nodes):
            node.stop()
        rclpy.try_shutdown()
    return 0

"""What depth_node and mapping_node have in common.

Callbacks leave work for one worker thread. Parameters are checked and taken all or none; warnings
do not flood the log; health is in /diagnostics once a second; a node that cannot start says why.
"""

from __future__ import annotations

import threading
import traceback
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..errors import MetricDepthError
from . import parameters
from .diagnostics import Health, Throttle

if TYPE_CHECKING:
    from rclpy.parameter import Parameter

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
WARNING_PERIOD_S = 5.0
CAMERA_INFO_PATIENCE_S = 0.5

Table = TypeVar('Table')


class WorkerNode(LifecycleNode, ABC, Generic[Table]):
    """A lifecycle node with a table of parameters and a worker thread.

    unconfigured -> `configure` calls `_begin` -> inactive -> `activate` starts the worker ->
    active. Shutting down, or an error, calls `stop` and `_release`.

    parameters: as they are now, one consistent set; read-only ones are fixed while configured.
    worker: the thread, while active.

    Args:
        table: dataclass of the parameters, see ros/parameters.py.

    Raises:
        ParameterError: a parameter that was given is of the wrong type or not allowed.
    """

    def __init__(self, name: str, table: type[Table], **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._table = table
        self.parameters: Table = parameters.declare(self, table)
        self.add_on_set_parameters_callback(self._change_parameters)
        self.health = Health()
        self.worker: threading.Thread | None = None
        self._throttle = Throttle(WARNING_PERIOD_S)
        self._tracebacks_shown: set[type] = set()
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self.create_timer(1.0, self._report, clock=steady)

    # What each node has to say

    @property
    @abstractmethod
    def configured(self) -> bool:
        """Whether there is what `_begin` makes."""

    @abstractmethod
    def _begin(self) -> None:
        """Make what an inactive node has; MetricDepthError or OSError if that cannot be."""

    @abstractmethod
    def _cannot_begin(self) -> str:
        """What could not be done if `_begin` has failed."""

    @abstractmethod
    def _release(self) -> None:
        """Undo `_begin`, whatever of it was done."""

    @abstractmethod
    def stop(self) -> None:
        """Stop listening and end the worker."""

    @abstractmethod
    def _status(self) -> DiagnosticStatus:
        """Of /diagnostics; warns of what is missing altogether."""

    # What goes wrong

    def _warn(self, text: str) -> None:
        self.health.last_warning = text
        if self._throttle.allows(text):
            self.get_logger().warning(text)

    def _show_traceback(self, error: Exception) -> None:
        """Where a fault of ours happened, once a kind."""
        if type(error) not in self._tracebacks_shown:
            self._tracebacks_shown.add(type(error))
            self.get_logger().error(''.join(traceback.format_exception(error)))

    def _report(self) -> None:
        """Once a second."""
        array = DiagnosticArray(status=[self._status()])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    # Parameters

    def _change_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Take the changes, all or none; rclpy has seen to types, ranges and what is read-only."""
        table = self._table
        own = {c.name: c.value for c in changes if parameters.known(c.name, table)}
        for name, value in own.items():
            try:
                parameters.check(name, value, table)
            except MetricDepthError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self.configured and not parameters.rule(name, table).live:
                reason = f'parameter {name} is fixed while configured: cleanup first'
                return SetParametersResult(successful=False, reason=reason)
        self.parameters = replace(self.parameters, **own)  # type: ignore[type-var]
        return SetParametersResult(successful=True)

    # Lifecycle

    def start(self) -> bool:
        """Configure and activate; False if that failed, which has been logged."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._begin()
        except (MetricDepthError, OSError) as error:
            self.get_logger().error(f'{self._cannot_begin()}: {error}')
        except Exception:  # rclpy would swallow it
            if not self.context.ok():  # a signal has ended ROS underneath, nothing has failed
                raise KeyboardInterrupt from None
            self.get_logger().error(traceback.format_exc())
        else:
            return super().on_configure(state)
        self._release()
        return FAILURE

    def _activate(self, state: LifecycleState, worker: threading.Thread) -> Any:
        """The publishers first, then the worker, who uses them."""
        result = super().on_activate(state)
        self.worker = worker
        worker.start()
        return result

    def _end_worker(self) -> None:
        """Wait for what the worker has in hand; whatever feeds it must have been closed."""
        if self.worker is not None and self.worker.is_alive():
            self.worker.join()
        self.worker = None

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_shutdown(state)

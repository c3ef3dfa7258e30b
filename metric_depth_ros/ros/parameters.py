"""Parameters of depth_node: one table, from which declaration, checks and documentation follow.

Nothing here needs ROS to be imported; only `declare` talks to a node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ..errors import MetricDepthError

if TYPE_CHECKING:
    from rclpy.node import Node

SUBSCRIBE_QOS = ('best_effort', 'reliable', 'sensor_data')
PUBLISH_QOS = ('reliable', 'best_effort')
IMAGE_TRANSPORTS = ('raw', 'compressed')
DEPTH_ENCODINGS = ('32FC1', '16UC1')


class ParameterError(MetricDepthError):
    """A parameter value that depth_node cannot work with."""


@dataclass(frozen=True)
class Rule:
    """What one parameter means and which values it takes.

    description: one line for descriptors and for the documentation.
    choices: the values a string may have; empty for any.
    low, high: the inclusive range of a number.
    live: may change while the node is configured; otherwise `cleanup` must come first.
    optional: the empty string is allowed, and means none.
    """

    description: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    live: bool = False
    optional: bool = False

    @property
    def constraints(self) -> str:
        """What is allowed, in words: 'one of raw, compressed', '1 to 64', or ''."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        return '' if self.low is None else f'{self.low:g} to {self.high:g}'


def _parameter(default: Any, description: str, **rule: Any) -> Any:
    return field(default=default, metadata={'rule': Rule(description, **rule)})


@dataclass(frozen=True)
class Parameters:
    """The values depth_node works with. `rule(name)` says what each one means."""

    model: str = _parameter(
        'default', 'a model that `metric-depth models` lists, or a checkpoint folder'
    )
    coarse: str = _parameter(
        '', 'the model whose depth is refined, for a model that needs one', optional=True
    )
    scale: float = _parameter(
        0.0,
        'depth = scale / disparity, metres, of a public model of relative disparity; 0 = none',
        low=0.0,
        high=1e9,
    )
    device: str = _parameter('auto', 'where the network runs: auto, cpu, cuda, cuda:1 ...')
    image_transport: str = _parameter(
        'raw', 'subscribe to image, or to image/compressed', choices=IMAGE_TRANSPORTS
    )
    rectified: bool = _parameter(
        False, 'the image is rectified already: the camera is P of camera_info, not K and D'
    )
    qos_subscribe: str = _parameter(
        'best_effort', 'reliability of the subscriptions', choices=SUBSCRIBE_QOS
    )
    qos_publish: str = _parameter('reliable', 'reliability of the publishers', choices=PUBLISH_QOS)
    samples: int = _parameter(
        4,
        'draws a frame: depth is their median, uncertainty comes from their spread',
        low=1,
        high=64,
        live=True,
    )
    steps: int = _parameter(
        0, "denoising steps a draw; 0 = the model's own number", low=0, high=1000, live=True
    )
    seed: int = _parameter(
        0,
        'same image, same seed: same depth, always',
        low=0,
        high=2**31 - 1,
        live=True,
    )
    depth_encoding: str = _parameter(
        '32FC1',
        'depth/image in metres (32FC1) or in whole millimetres, 0 = none (16UC1)',
        choices=DEPTH_ENCODINGS,
        live=True,
    )
    beyond_range_as_nan: bool = _parameter(
        False, 'publish NaN where depth is beyond range, instead of +inf (REP 117)', live=True
    )
    max_std_ratio: float = _parameter(
        0.0,
        'publish no depth where its standard deviation exceeds this share of it; 0 = off',
        low=0.0,
        high=10.0,
        live=True,
    )
    publish_points: bool = _parameter(True, 'publish depth/points', live=True)
    publish_metric: bool = _parameter(True, 'publish depth/metric', live=True)
    autostart: bool = _parameter(True, 'configure and activate at start, unasked')


_RULES: dict[str, Rule] = {f.name: f.metadata['rule'] for f in fields(Parameters)}


def known(name: str) -> bool:
    """False for parameters that are not depth_node's own, such as use_sim_time."""
    return name in _RULES


def rule(name: str) -> Rule:
    """What the parameter `name` means; KeyError if there is none of that name."""
    return _RULES[name]


def check(name: str, value: Any) -> None:
    """Raise ParameterError if `value` is not allowed for the parameter `name`."""
    allowed = rule(name)
    if allowed.choices:
        good = value in allowed.choices
    elif allowed.low is not None and allowed.high is not None:
        good = allowed.low <= value <= allowed.high  # False for NaN
    else:
        good = allowed.optional or value != ''
    if not good:
        expected = allowed.constraints or 'not an empty string'
        raise ParameterError(f'parameter {name} is {value!r}, expected {expected}')


def declare(node: Node) -> Parameters:
    """Declare every parameter on `node`; the values it was started with.

    Raises:
        ParameterError: a value that was given is of the wrong type or not allowed.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, ParameterException

    values: dict[str, Any] = {}
    for f in fields(Parameters):
        allowed = rule(f.name)
        descriptor = ParameterDescriptor(
            description=allowed.description,
            additional_constraints=allowed.constraints,
            read_only=f.name == 'autostart',
        )
        if allowed.low is not None and isinstance(f.default, float):
            descriptor.floating_point_range.append(
                FloatingPointRange(from_value=allowed.low, to_value=allowed.high)
            )
        elif allowed.low is not None:
            descriptor.integer_range.append(
                IntegerRange(from_value=int(allowed.low), to_value=int(allowed.high or 0))
            )
        try:
            values[f.name] = node.declare_parameter(f.name, f.default, descriptor).value
        except InvalidParameterTypeException as error:
            kind = type(f.default).__name__
            raise ParameterError(f'parameter {f.name} expected a {kind}: {error}') from error
        except ParameterException as error:
            raise ParameterError(f'parameter {f.name}: {error}') from error
        check(f.name, values[f.name])
    return Parameters(**values)

"""Parameters of a node: one table, from which declaration, checks and documentation follow.

The table is a dataclass, each field made by `parameter`; depth_node's is here.

Nothing here needs ROS to be imported; only `declare` talks to a node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MetricDepthError

if TYPE_CHECKING:
    from rclpy.node import Node

SUBSCRIBE_QOS = ('best_effort', 'reliable', 'sensor_data')
PUBLISH_QOS = ('reliable', 'best_effort')
PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
IMAGE_TRANSPORTS = ('raw', 'compressed')
DEPTH_ENCODINGS = ('32FC1', '16UC1')


class ParameterError(MetricDepthError):
    """A parameter value that a node cannot work with."""


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


def parameter(default: Any, description: str, **rule: Any) -> Any:
    """A field of a table of parameters; `rule` as the fields of Rule."""
    return field(default=default, metadata={'rule': Rule(description, **rule)})


@dataclass(frozen=True)
class Parameters:
    """The values depth_node works with. `rule(name)` says what each one means."""

    model: str = parameter(
        'default', 'a model that `metric-depth models` lists, or a checkpoint folder'
    )
    coarse: str = parameter(
        '', 'the model whose depth is refined, for a model that needs one', optional=True
    )
    scale: float = parameter(
        0.0,
        'depth = scale / disparity, metres, of a public model of relative disparity; 0 = none',
        low=0.0,
        high=1e9,
    )
    device: str = parameter('auto', 'where the network runs: auto, cpu, cuda, cuda:1 ...')
    precision: str = parameter(
        'auto',
        'what the network computes with; auto = fp32, and fp16 for latent methods on CUDA',
        choices=PRECISIONS,
    )
    image_transport: str = parameter(
        'raw', 'subscribe to image, or to image/compressed', choices=IMAGE_TRANSPORTS
    )
    rectified: bool = parameter(
        False, 'the image is rectified already: the camera is P of camera_info, not K and D'
    )
    qos_subscribe: str = parameter(
        'best_effort', 'reliability of the subscriptions', choices=SUBSCRIBE_QOS
    )
    qos_publish: str = parameter('reliable', 'reliability of the publishers', choices=PUBLISH_QOS)
    samples: int = parameter(
        4,
        'draws a frame: depth is their median, uncertainty comes from their spread',
        low=1,
        high=64,
        live=True,
    )
    steps: int = parameter(
        0, "denoising steps a draw; 0 = the model's own number", low=0, high=1000, live=True
    )
    seed: int = parameter(
        0,
        'same image, same seed: same depth, always',
        low=0,
        high=2**31 - 1,
        live=True,
    )
    depth_encoding: str = parameter(
        '32FC1',
        'depth/image in metres (32FC1) or in whole millimetres, 0 = none (16UC1)',
        choices=DEPTH_ENCODINGS,
        live=True,
    )
    beyond_range_as_nan: bool = parameter(
        False, 'publish NaN where depth is beyond range, instead of +inf (REP 117)', live=True
    )
    max_std_ratio: float = parameter(
        0.0,
        'publish no depth where its standard deviation exceeds this share of it; 0 = off',
        low=0.0,
        high=10.0,
        live=True,
    )
    publish_points: bool = parameter(True, 'publish depth/points', live=True)
    publish_metric: bool = parameter(True, 'publish depth/metric', live=True)
    autostart: bool = parameter(True, 'configure and activate at start, unasked')


Table = TypeVar('Table')


def rules(table: type = Parameters) -> dict[str, Rule]:
    """What each parameter of the table means, by name."""
    return {f.name: f.metadata['rule'] for f in fields(table)}


def known(name: str, table: type = Parameters) -> bool:
    """False for parameters that are not the node's own, such as use_sim_time."""
    return name in rules(table)


def rule(name: str, table: type = Parameters) -> Rule:
    """What the parameter `name` means; KeyError if there is none of that name."""
    return rules(table)[name]


def check(name: str, value: Any, table: type = Parameters) -> None:
    """Raise ParameterError if `value` is not allowed for the parameter `name`."""
    allowed = rule(name, table)
    if allowed.choices:
        good = value in allowed.choices
    elif allowed.low is not None and allowed.high is not None:
        good = allowed.low <= value <= allowed.high  # False for NaN
    else:
        good = allowed.optional or value != ''
    if not good:
        expected = allowed.constraints or 'not an empty string'
        raise ParameterError(f'parameter {name} is {value!r}, expected {expected}')


def declare(node: Node, table: type[Table]) -> Table:
    """Declare every parameter of the table on `node`; the values it was started with.

    Raises:
        ParameterError: a value that was given is of the wrong type or not allowed.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, ParameterException

    values: dict[str, Any] = {}
    for f in fields(table):  # type: ignore[arg-type]
        allowed = rule(f.name, table)
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
        check(f.name, values[f.name], table)
    return table(**values)

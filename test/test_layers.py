"""Imports go down only: the architecture, held by a walk over the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import metric_depth_ros

PACKAGE = Path(metric_depth_ros.__file__).parent
NAME = 'metric_depth_ros'

# Each room may import rooms of earlier floors. Rooms of one floor are neighbours and do not
# import each other, but for the exceptions below.
FLOORS = (
    {'errors'},
    {'types'},
    {'alignment', 'depth_codec', 'geometry', 'rigid'},
    {'calibration', 'looks', 'novelty', 'public_models', 'messages', 'nn', 'targets'},
    {'bags', 'methods'},
    {'catalogue', 'layouts', 'precision'},
    {'checkpoint'},
    {'predictor'},
    {'synthetic', 'mapping', 'evaluation', 'training'},
    {'fusing'},
    {'ros', 'cli'},
)
EXCEPTIONS = {
    ('training', 'evaluation.metrics'),
    ('training', 'evaluation.boundaries'),
    ('training', 'evaluation.datasets'),
    ('training', 'synthetic'),
    ('cli', 'ros'),  # replay --live
}
FORBIDDEN = {('ros', 'training'), ('synthetic', 'methods'), ('synthetic', 'predictor')}
HEAVY = {'diffusers', 'transformers', 'open3d', 'rclpy', 'rerun', 'matplotlib', 'rosbags', 'rich'}
ROS_ONLY = {'rclpy', 'sensor_msgs', 'std_msgs', 'diagnostic_msgs', 'nav_msgs', 'geometry_msgs'}


def sources() -> list[Path]:
    generated = PACKAGE / 'msg'
    return [path for path in sorted(PACKAGE.rglob('*.py')) if generated not in path.parents]


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(path: Path, nodes: list[ast.AST] | None = None) -> set[str]:
    """Absolute names of all that `path` imports, or that `nodes` of it do."""
    package = [NAME, *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in nodes if nodes is not None else ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            found |= {'.'.join([*base, alias.name]) for alias in node.names}
    return found


def floor(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize('path', sources(), ids=module)
def test_imports_go_down(path: Path) -> None:
    room = module(path).split('.')[0]
    if not room:
        return  # the package itself only hands names on, when asked
    for name in imports(path):
        if not name.startswith(f'{NAME}.') or name.startswith(f'{NAME}.msg'):
            continue
        target = name.removeprefix(f'{NAME}.')
        other = target.split('.')[0]
        if other == room or other == '__version__':
            continue
        excepted = any(room == a and f'{target}.'.startswith(f'{b}.') for a, b in EXCEPTIONS)
        assert excepted or floor(other) < floor(room), f'{module(path)} imports {target}'
        assert (room, other) not in FORBIDDEN, f'{module(path)} imports {target}'


@pytest.mark.parametrize('path', sources(), ids=module)
def test_methods_are_strangers_to_each_other(path: Path) -> None:
    if path.parent.name != 'methods' or path.name == '__init__.py':
        return
    method = path.stem.split('_')[0]  # grin.py and grin_config.py are one
    others = {name for name in imports(path) if name.startswith(f'{NAME}.methods.')}
    assert all(name.startswith(f'{NAME}.methods.{method}') for name in others)


@pytest.mark.parametrize('path', sources(), ids=module)
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    if module(path).split('.')[0] == 'ros':
        return
    top = imports(path, ast.parse(path.read_text()).body)
    assert not {name.split('.')[0] for name in top} & HEAVY


@pytest.mark.parametrize('path', sources(), ids=module)
def test_only_the_ros_room_imports_ros(path: Path) -> None:
    if module(path).split('.')[0] == 'ros':
        return
    assert not {name.split('.')[0] for name in imports(path)} & ROS_ONLY


def test_the_command_line_starts_without_torch() -> None:
    code = (
        'import sys; from metric_depth_ros.cli.main import build_parser; build_parser(); '
        'print(sorted({"torch", "cv2", "rclpy", "rosbags"} & sys.modules.keys()))'
    )
    command = [sys.executable, '-c', code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == '[]'

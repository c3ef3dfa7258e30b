"""Build the messages of msg/ for this Python, against the ROS wheels installed beside it.

    python resource/build_messages.py

adds them to the package as it is installed, editable or not. pip does the same through setup.py,
but only where the ROS wheels were there before: what is installed together with them is built
without. A colcon workspace needs neither: there CMakeLists.txt is what is built.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'metric_depth_ros'


def ros_prefix() -> Path | None:
    """The ament prefix that this Python's ROS wheels make up; None without their generators."""
    prefix = Path(sys.prefix)
    return prefix if (prefix / 'share' / 'rosidl_default_generators').is_dir() else None


def check_toolchain() -> None:
    missing = [tool for tool in ('cmake', 'c++') if shutil.which(tool) is None]
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        missing.append('Python.h')
    if missing:
        sys.exit(
            f'cannot build the ROS messages of {PACKAGE}: {", ".join(missing)} not found; '
            'on Debian and Ubuntu: apt install cmake g++ python3-dev'
        )


def build_messages(package_dir: Path, library_dir: Path) -> None:
    """Build msg/: its Python into `package_dir`, libraries that rclpy loads into `library_dir`."""
    prefix = ros_prefix()
    if prefix is None:
        sys.exit(f'no ROS wheels in {sys.prefix}: pip install "{PACKAGE}[ros]"')
    check_toolchain()
    # PYTHONPATH is pip's, when it builds in isolation: it would hide the ROS wheels from the
    # generators. The wheels' own marker would keep a child from finding its libraries.
    hidden = ('PYTHONPATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {'AMENT_PREFIX_PATH': str(prefix), 'CMAKE_PREFIX_PATH': str(prefix)}

    def cmake(*arguments: object) -> None:
        subprocess.run(
            ['cmake', *map(str, arguments)], check=True, env=env, stdin=subprocess.DEVNULL
        )

    with tempfile.TemporaryDirectory() as scratch:
        build, stage = Path(scratch, 'build'), Path(scratch, 'stage')
        options = {
            'CMAKE_INSTALL_PREFIX': stage,
            'CMAKE_BUILD_TYPE': 'Release',
            'Python3_EXECUTABLE': sys.executable,
            'BUILD_TESTING': 'OFF',
        }
        cmake('-S', ROOT, '-B', build, *(f'-D{name}={value}' for name, value in options.items()))
        cmake('--build', build, '--parallel', os.cpu_count())
        cmake('--install', build)
        generated = next(stage.glob('lib/python*/*-packages')) / PACKAGE
        shutil.rmtree(package_dir / 'msg', ignore_errors=True)
        not_needed = shutil.ignore_patterns('*.c', '__pycache__')
        shutil.copytree(generated / 'msg', package_dir / 'msg', ignore=not_needed)
        library_dir.mkdir(parents=True, exist_ok=True)
        for extension in generated.glob('*.so'):
            _replace(extension, package_dir)
        for library in stage.glob(f'lib/lib{PACKAGE}__*.so'):
            _replace(library, library_dir)


def _replace(file: Path, folder: Path) -> None:
    """Copy to a new inode: a running node keeps the library that it has mapped."""
    target = folder / file.name
    target.unlink(missing_ok=True)
    shutil.copy2(file, target)


def installed_package() -> Path:
    """The folder that `import metric_depth_ros` finds, which may be this checkout's."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit(f'{PACKAGE} is not installed in {sys.prefix}: pip install -e .')
    return Path(spec.origin).parent


if __name__ == '__main__':
    build_messages(installed_package(), Path(sys.prefix) / 'lib')

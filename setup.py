"""What pyproject.toml cannot say: the version of package.xml, ament's share/, the messages."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
SHARE = 'share/metric_depth_ros'
sys.path.insert(0, str(ROOT / 'resource'))

from build_messages import PACKAGE, build_messages, ros_prefix  # noqa: E402


class BuildMessages(Command):
    """Build msg/ along with the modules: into the wheel, or beside the sources if editable.

    A command of its own, because setuptools hides what goes wrong in a derived build_py.
    """

    def initialize_options(self) -> None:
        self.build_lib: str | None = None
        self.editable_mode = False  # set by setuptools

    def finalize_options(self) -> None:
        self.set_undefined_options('build', ('build_lib', 'build_lib'))

    def run(self) -> None:
        if self.editable_mode:
            build_messages(ROOT / PACKAGE, Path(sys.prefix) / 'lib')
            return
        modules = Path(str(self.build_lib))
        libraries = modules.parent / 'message_libraries'
        build_messages(modules / PACKAGE, libraries)
        self.distribution.data_files.append(('lib', [str(so) for so in libraries.glob('*.so')]))

    def get_source_files(self) -> list[str]:
        return ['CMakeLists.txt', *files('msg/*.msg')]

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Build(build):
    """Modules, then messages."""

    sub_commands: ClassVar = [
        *build.sub_commands,
        ('build_messages', lambda _: ros_prefix() is not None),
    ]


class MessageDistribution(Distribution):
    """A wheel with messages in it belongs to one Python on one platform."""

    def has_ext_modules(self) -> bool:
        return ros_prefix() is not None


def files(pattern: str) -> list[str]:
    """Files of the checkout, relative to it."""
    return [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(pattern)) if path.is_file()]


setup(
    version=ElementTree.parse(ROOT / 'package.xml').findtext('version'),
    cmdclass={'build': Build, 'build_messages': BuildMessages},
    distclass=MessageDistribution,
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/config', files('config/*')),
        (f'{SHARE}/launch', files('launch/*.launch.py')),
        (f'{SHARE}/msg', files('msg/*.msg')),
    ],
)

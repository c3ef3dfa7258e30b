"""The files that describe the package to colcon, to pip and to people agree with one another."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

PACKAGE = 'metric_depth_ros'


@pytest.fixture(scope='module')
def manifest(repository: Path) -> ElementTree.Element:
    return ElementTree.parse(repository / 'package.xml').getroot()


@pytest.fixture(scope='module')
def cmake(repository: Path) -> str:
    return (repository / 'CMakeLists.txt').read_text()


@pytest.fixture(scope='module')
def distribution() -> metadata.Distribution:
    """The package as pip knows it."""
    # colcon and setuptools leave distributions of this name behind that nobody installed
    for found in metadata.distributions(name=PACKAGE):
        if found.read_text('INSTALLER') is not None:
            return found
    pytest.skip('installed by colcon, not by pip')


def depends(manifest: ElementTree.Element, *kinds: str) -> set[str | None]:
    return {element.text for kind in kinds for element in manifest.findall(kind)}


def test_one_name_everywhere(repository: Path, manifest: ElementTree.Element, cmake: str) -> None:
    assert manifest.findtext('name') == PACKAGE
    assert re.search(rf'^project\({PACKAGE}\)$', cmake, re.MULTILINE)
    assert re.search(rf'^name = "{PACKAGE}"$', (repository / 'pyproject.toml').read_text(), re.M)
    assert (repository / 'resource' / PACKAGE).read_bytes() == b''  # the ament index's marker


def test_pip_installs_the_version_of_package_xml(
    repository: Path, manifest: ElementTree.Element
) -> None:
    version = manifest.findtext('version')
    command = [sys.executable, 'setup.py', '--version']
    run = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    assert run.stdout.split()[-1] == version


def test_licence_is_apache(repository: Path, manifest: ElementTree.Element) -> None:
    licence = manifest.find('license')
    assert licence is not None
    assert licence.text == 'Apache-2.0'
    assert 'license = "Apache-2.0"' in (repository / 'pyproject.toml').read_text()
    text = (repository / str(licence.get('file'))).read_text()
    assert 'Apache License' in text
    assert 'END OF TERMS AND CONDITIONS' in text


def test_manifest_covers_what_cmake_looks_for(manifest: ElementTree.Element, cmake: str) -> None:
    provided_otherwise = {'ament_cmake_python', 'Python3'}  # by ament_cmake, by CMake
    wanted = set(re.findall(r'find_package\((\w+)', cmake)) - provided_otherwise
    assert wanted == depends(manifest, 'buildtool_depend', 'depend', 'test_depend')
    assert depends(manifest, 'member_of_group') == {'rosidl_interface_packages'}


def test_manifest_covers_what_the_nodes_import(
    repository: Path, manifest: ElementTree.Element
) -> None:
    sources = (repository / PACKAGE / 'ros').glob('*.py')
    lines = '\n'.join(path.read_text() for path in sources)
    messages = set(re.findall(r'^\s*(?:from|import) (\w+_(?:msgs|interfaces))\b', lines, re.M))
    assert 'sensor_msgs' in messages
    optional = {'tf2_msgs'}
    assert messages - optional <= depends(manifest, 'depend', 'exec_depend')


def test_commands_of_pip_are_those_of_colcon(
    cmake: str, distribution: metadata.Distribution
) -> None:
    of_colcon = re.findall(r'install_command\((\S+) \$\{PROJECT_NAME\}\.(\S+) ', cmake)
    of_pip = [
        (script.name, script.value.removeprefix(f'{PACKAGE}.').removesuffix(':main'))
        for script in distribution.entry_points
        if script.group == 'console_scripts'
    ]
    assert sorted(of_pip) == sorted(of_colcon)
    assert sorted(of_pip) == [
        ('depth_and_mapping', 'cli.depth_and_mapping'),
        ('depth_node', 'cli.node'),
        ('mapping_node', 'cli.mapping_node'),
        ('metric-depth', 'cli.main'),
    ]


def test_message_has_the_fields_of_its_definition(repository: Path) -> None:
    message = pytest.importorskip('metric_depth_ros.msg').MetricDepth
    name = f'{PACKAGE}/msg/MetricDepth'
    definition = (repository / 'msg' / 'MetricDepth.msg').read_text()
    fields = get_types_from_msg(definition, name)[name][1]
    assert list(message.get_fields_and_field_types()) == [field for field, _ in fields]
    # and a bag can hold it: the definition resolves against the standard messages
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(definition, name))
    assert name in store.fielddefs


def test_constraints_pin_every_ros_wheel_that_pip_is_asked_for(
    repository: Path, distribution: metadata.Distribution
) -> None:
    constraints = (repository / 'resource' / 'constraints.txt').read_text()
    pins = set(re.findall(r'^([\w-]+)==\S+$', constraints, re.MULTILINE))
    requirements = distribution.requires or []
    ros = {re.split(r'[\[;>= ]', line)[0] for line in requirements if line.startswith('ros-')}
    assert 'ros-rclpy' in ros
    assert ros <= pins
    assert 'torch' in pins


def test_top_level_holds_what_belongs_there(repository: Path) -> None:
    if not (repository / '.git').exists():
        pytest.skip('not a git checkout')
    command = ['git', '-c', f'safe.directory={repository}', 'ls-files']
    run = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    tracked = [Path(line) for line in run.stdout.splitlines()]
    folders = {path.parts[0] for path in tracked if len(path.parts) > 1}
    ours = {PACKAGE, 'config', 'launch', 'msg', 'resource', 'test'}
    assert ours <= folders <= ours | {'.ci', 'docs'}
    # what an editable install builds in place
    assert not [path for path in tracked if path.suffix == '.so' or path.parts[1:2] == ('msg',)]

"""The Fast DDS profile: taken by Fast DDS as written, and 6 MB clouds arrive whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

EXCHANGE = Path(__file__).with_name('cloud_exchange.py')
DEADLINE_S = 60.0
UDP_ON_LOOPBACK = """<dds xmlns="http://www.eprosima.com"><profiles>
  <transport_descriptors><transport_descriptor>
    <transport_id>loopback</transport_id><type>UDPv4</type>
    <interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="loopback" is_default_profile="true"><rtps>
    <userTransports><transport_id>loopback</transport_id></userTransports>
    <useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles></dds>"""


@pytest.fixture(scope='module')
def profile(repository: Path) -> Path:
    return repository / 'config' / 'fastdds_profile.xml'


def exchange_clouds(sender: dict[str, str], receiver: dict[str, str]) -> list[dict[str, Any]]:
    """Reports of the sending and the receiving process, each with its own environment added."""
    base = {name: value for name, value in os.environ.items() if not name.startswith('FAST')}
    processes = [
        subprocess.Popen(
            [sys.executable, str(EXCHANGE), role],
            env=base | {'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'} | additions,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, additions in (('receive', receiver), ('send', sender))
    ]
    reports = []
    try:
        for process in reversed(processes):
            output, errors = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, errors
            assert 'XMLPARSER' not in errors
            reports.append(json.loads(output))
    finally:
        for process in processes:
            process.kill()
    return reports


def test_large_clouds_arrive_whole_through_shared_memory(profile: Path) -> None:
    environment = {'FASTDDS_DEFAULT_PROFILES_FILE': str(profile)}
    sent, received = exchange_clouds(environment, environment)
    assert received['digests'] == sent['digests']
    assert len(sent['digests']) == 8
    namespace = {'dds': 'http://www.eprosima.com'}
    segment = ElementTree.parse(profile).findtext('.//dds:segment_size', namespaces=namespace)
    assert max(sent['segments']) >= int(segment or 0)


def test_large_clouds_arrive_whole_at_a_receiver_without_shared_memory(
    profile: Path, tmp_path: Path
) -> None:
    loopback = tmp_path / 'loopback.xml'
    loopback.write_text(UDP_ON_LOOPBACK)
    receiver = {
        'FASTDDS_DEFAULT_PROFILES_FILE': str(loopback),
        # LOCALHOST would give it shared memory on top of its profile.
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT',
    }
    sent, received = exchange_clouds({'FASTDDS_DEFAULT_PROFILES_FILE': str(profile)}, receiver)
    assert received['segments'] == []
    assert received['digests'] == sent['digests']

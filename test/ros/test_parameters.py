"""One table of parameters: declared, checked, changed at run time, and told alike everywhere."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from metric_depth_ros.ros.mapping_parameters import MappingParameters
from metric_depth_ros.ros.parameters import ParameterError, Parameters, check, rule

LIVE = {
    'samples',
    'steps',
    'seed',
    'depth_encoding',
    'beyond_range_as_nan',
    'max_std_ratio',
    'publish_points',
    'publish_metric',
}


def test_configuration_file_holds_every_parameter_at_its_default(repository: Path):
    values = yaml.safe_load((repository / 'config' / 'depth.yaml').read_text())
    assert values['/**']['ros__parameters'] == asdict(Parameters())


def test_readme_lists_every_parameter_with_its_default(repository: Path):
    section = (repository / 'README.md').read_text().split('### Parameters of `depth_node`')[1]
    rows = re.findall(r'^\| (`\w+`(?:, `\w+`)*) \| `(.*?)` \| (.*) \|$', section, re.MULTILINE)
    listed = {
        name: (yaml.safe_load(default), '*live*' in text)
        for names, default, text in rows
        for name in re.findall(r'\w+', names)
    }
    expected = {name: (value, name in LIVE) for name, value in asdict(Parameters()).items()}
    assert listed == expected


def test_page_of_the_mapping_node_lists_every_parameter_with_its_default(repository: Path):
    section = (repository / 'docs' / 'mapping_node.md').read_text().split('## Parameters')[1]
    rows = re.findall(r'^\| `(\w+)` \| `(.*?)` \| (.*) \|$', section, re.MULTILINE)
    listed = {name: (yaml.safe_load(value), '*live*' in text) for name, value, text in rows}
    assert listed == {
        f.name: (f.default, rule(f.name, MappingParameters).live)
        for f in fields(MappingParameters)
    }


@pytest.mark.parametrize('table', [Parameters, MappingParameters])
def test_every_default_is_allowed_and_explained(table: type):
    for f in fields(table):
        check(f.name, f.default, table)
        assert rule(f.name, table).description


def test_parameters_of_the_depth_node_that_may_change():
    for f in fields(Parameters):
        assert rule(f.name).live == (f.name in LIVE)


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('samples', 0, 'samples is 0, expected 1 to 64'),
        ('samples', 65, 'expected 1 to 64'),
        ('max_std_ratio', float('nan'), 'max_std_ratio is nan'),
        ('depth_encoding', '64FC1', "'64FC1', expected one of 32FC1, 16UC1"),
        ('qos_subscribe', 'RELIABLE', 'expected one of best_effort, reliable, sensor_data'),
        ('model', '', "model is '', expected not an empty string"),
    ],
)
def test_values_that_are_not_allowed(name: str, value: Any, words: str):
    with pytest.raises(ParameterError, match=words):
        check(name, value)


def set_parameter(rig: Any, name: str, value: Any) -> Any:
    """As `ros2 param set` does it, by the node's service."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    service = f'{rig.node.get_fully_qualified_name()}/set_parameters'
    client = rig.client.create_client(SetParameters, service)
    assert client.wait_for_service(10)
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    future = client.call_async(request)
    rig.wait(future.done)
    return future.result().results[0]


def test_descriptors_say_what_is_allowed(make_rig):
    rig = make_rig()
    samples = rig.node.describe_parameter('samples')
    assert (samples.integer_range[0].from_value, samples.integer_range[0].to_value) == (1, 64)
    ratio = rig.node.describe_parameter('max_std_ratio').floating_point_range[0]
    assert (ratio.from_value, ratio.to_value) == (0.0, 10.0)
    encoding = rig.node.describe_parameter('depth_encoding')
    assert encoding.additional_constraints == 'one of 32FC1, 16UC1'
    assert rig.node.describe_parameter('autostart').read_only
    assert not samples.read_only


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('samples', 0, 'samples'),
        ('samples', 'many', "'samples' to 'many'"),
        ('qos_publish', 'fast', "'fast', expected one of reliable, best_effort"),
        ('steps', -1, 'steps'),
    ],
)
def test_node_does_not_start_with_what_is_not_allowed(make_rig, name, value, words):
    with pytest.raises(ParameterError, match=words):
        make_rig(**{name: value})


def test_run_time_change_is_refused_with_a_reason(make_rig):
    rig = make_rig().start()
    before = rig.node.parameters
    for name, value, reason in (
        ('samples', 65, 'out of range'),
        ('samples', 'many', 'type, expected'),
        ('depth_encoding', '64FC1', "depth_encoding is '64FC1', expected one of 32FC1, 16UC1"),
        ('model', 'other', 'model is fixed while configured: cleanup first'),
        ('autostart', False, 'read-only'),
    ):
        result = set_parameter(rig, name, value)
        assert not result.successful
        assert reason in result.reason
    assert rig.node.parameters == before


def test_fixed_parameters_may_change_before_configuration(make_rig):
    rig = make_rig()
    assert set_parameter(rig, 'image_transport', 'compressed').successful
    assert rig.node.parameters.image_transport == 'compressed'


def test_run_time_change_of_the_encoding_reaches_the_next_frame(make_rig):
    import numpy as np

    rig = make_rig().start()
    rig.send_info()
    rig.send_image(1)
    rig.expect(1)
    assert set_parameter(rig, 'depth_encoding', '16UC1').successful
    rig.send_image(2, data=rig.image(1).data)
    rig.expect(2)
    metres, millimetres = rig.received['depth/image']
    assert (metres.encoding, millimetres.encoding) == ('32FC1', '16UC1')
    depth = np.frombuffer(metres.data, '<f4')
    whole = np.frombuffer(millimetres.data, '<u2')
    in_range = np.isfinite(depth) & (depth < 65)
    assert in_range.sum() > 10
    np.testing.assert_allclose(whole[in_range] / 1000, depth[in_range], atol=0.00051)
    assert (whole[~np.isfinite(depth)] == 0).all()


def test_run_time_change_of_seed_and_samples_changes_the_draws(make_rig):
    rig = make_rig().start()
    rig.send_info()
    data = rig.image(1).data

    def depth_of(stamp: int) -> Any:
        rig.send_image(stamp, data=data)
        rig.expect(stamp)
        return rig.received['depth/image'][-1].data

    first = depth_of(1)
    assert depth_of(2) == first
    assert set_parameter(rig, 'seed', 1).successful
    other = depth_of(3)
    assert other != first
    assert set_parameter(rig, 'samples', 3).successful
    assert depth_of(4) != other
    assert set_parameter(rig, 'seed', 0).successful
    assert set_parameter(rig, 'samples', 2).successful
    assert depth_of(5) == first


def test_untrusted_and_infinite_depth_is_left_out_on_request(make_rig):
    import numpy as np

    rig = make_rig().start()
    rig.send_info()
    data = rig.image(1).data
    rig.send_image(1, data=data)
    rig.expect(1, 'depth/image', 'depth/uncertainty')
    depth, std = (
        np.frombuffer(rig.received[topic][0].data, '<f4')
        for topic in ('depth/image', 'depth/uncertainty')
    )
    assert np.isinf(depth).any()
    finite = np.isfinite(depth)
    ratio = std[finite] / depth[finite]
    limit = float(ratio.min() + ratio.max()) / 2
    assert set_parameter(rig, 'beyond_range_as_nan', True).successful
    assert set_parameter(rig, 'max_std_ratio', limit).successful
    rig.send_image(2, data=data)
    rig.expect(2)
    chosen = np.frombuffer(rig.received['depth/image'][1].data, '<f4')
    trusted = finite & (std <= limit * np.where(finite, depth, 0))
    assert 0 < trusted.sum() < finite.sum()
    np.testing.assert_array_equal(chosen, np.where(trusted, depth, np.nan))


def test_points_are_not_published_when_switched_off(make_rig):
    rig = make_rig(publish_points=False).start()
    rig.send_info()
    rig.send_image(1)
    rig.expect(1, 'depth/uncertainty')
    assert set_parameter(rig, 'publish_points', True).successful
    rig.send_image(2)
    rig.expect(2, 'depth/points')
    assert rig.stamps('depth/points') == [2]

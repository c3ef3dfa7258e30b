"""A bag is whole or not there, and a person's recording is never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metric_depth_ros.bags.reader import Bag, BagError, deserialize, type_store
from metric_depth_ros.bags.writer import BagWriter

TEXT = 'std_msgs/msg/String'


def write(path: Path, *texts: str, author: str = 'a test') -> None:
    with BagWriter(path, author=author) as bag:
        for recorded_ns, text in enumerate(texts):
            bag.write('/text', TEXT, recorded_ns, type_store().types[TEXT](text))


def read(path: Path, topic: str = '/text') -> list[str]:
    with Bag(path) as bag:
        return [deserialize(message).data for message in bag.messages([topic])]


def test_messages_read_back(tmp_path: Path):
    write(tmp_path / 'bag', 'one', 'two')
    assert read(tmp_path / 'bag') == ['one', 'two']
    with Bag(tmp_path / 'bag') as bag:
        assert bag.topics == {'/text': TEXT}


def test_copies_are_the_same_bytes_on_any_topic(tmp_path: Path):
    write(tmp_path / 'bag', 'one', 'two')
    with Bag(tmp_path / 'bag') as source, BagWriter(tmp_path / 'copy', author='a test') as copy:
        for message in source.messages(['/text']):
            copy.copy(message)
            copy.copy(message, '/other')
    for topic in ('/text', '/other'):
        assert read(tmp_path / 'copy', topic) == ['one', 'two']


def test_only_a_bag_of_the_same_author_is_replaced(tmp_path: Path, write_bag: Callable[..., Path]):
    write(tmp_path / 'bag', 'old')
    write(tmp_path / 'bag', 'new')
    assert read(tmp_path / 'bag') == ['new']
    (tmp_path / 'notes').write_text('mine')
    (tmp_path / 'folder').mkdir()
    for precious in (write_bag(), tmp_path / 'notes', tmp_path / 'folder'):
        with pytest.raises(BagError, match='was not written by a test'):
            BagWriter(precious, author='a test')
    with pytest.raises(BagError, match='was not written by someone else'):
        BagWriter(tmp_path / 'bag', author='someone else')


def test_a_failure_leaves_the_earlier_bag_and_no_debris(tmp_path: Path):
    write(tmp_path / 'bag', 'old')
    with pytest.raises(AttributeError):
        write(tmp_path / 'bag', 'new', 3)  # 3 is not a string
    assert [path.name for path in tmp_path.iterdir()] == ['bag']
    assert read(tmp_path / 'bag') == ['old']


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path):
    BagWriter(tmp_path / 'bag', author='a test').__enter__()
    write(tmp_path / 'bag', 'new')
    assert [path.name for path in tmp_path.iterdir()] == ['bag']


def test_static_transforms_are_latched(tmp_path: Path):
    with BagWriter(tmp_path / 'bag', author='a test') as bag:
        kind = 'tf2_msgs/msg/TFMessage'
        bag.write('/tf_static', kind, 0, type_store().types[kind]([]))
    metadata = (tmp_path / 'bag' / 'metadata.yaml').read_text()
    assert 'durability: transient_local' in metadata

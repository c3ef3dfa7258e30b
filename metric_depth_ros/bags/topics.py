"""Which topics of a bag hold the image, its camera_info and its true depth.

By message type first, then by the names that camera drivers and data sets give their topics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import MetricDepthError

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TF_TYPE = 'tf2_msgs/msg/TFMessage'

_COLOUR = {'color', 'colour', 'rgb'}
_REGISTERED = {'aligned', 'registered', 'register'}
_DEPTH = {'depth', 'range'}
# Words of topics of type Image that hold no image a person would recognise.
_NOT_A_VIEW = _DEPTH | {'disparity', 'uncertainty', 'confidence', 'mask', 'label', 'labels'}
_DEPTH_TRANSPORT = '/compressedDepth'
_BASE_NAMES = ('image_raw', 'image_color', 'image', 'image_rect_color', 'image_rect')


class TopicError(MetricDepthError):
    """A topic that a bag lacks, that has the wrong type, or that cannot be told from others."""


@dataclass(frozen=True)
class Topics:
    """Names of the topics that a replay reads.

    depth: the true depth; None without any.
    depth_was_told: a person chose it, so it counts as registered to the image even where its
        frame_id says otherwise.
    """

    image: str
    camera_info: str
    depth: str | None = None
    depth_was_told: bool = False


def find_topics(
    topics: Mapping[str, str],
    image: str | None = None,
    camera_info: str | None = None,
    depth: str | None = None,
) -> Topics:
    """Image, camera_info and true depth among `topics` (name to type).

    A topic that is given is only checked. Of several, preferred are: an image with a camera_info
    beside it, in colour, raw rather than compressed; depth that is registered to the image.

    Raises:
        TopicError: a topic is missing or of the wrong type; says what there is.
    """
    if image is None:
        image = _find_image(topics)
    else:
        _check(topics, image, (IMAGE_TYPE, COMPRESSED_TYPE))
    if camera_info is None:
        camera_info = _find_camera_info(topics, image)
    else:
        _check(topics, camera_info, (CAMERA_INFO_TYPE,))
    if depth is None:
        return Topics(image, camera_info, _find_depth(topics, image))
    _check(topics, depth, (IMAGE_TYPE, COMPRESSED_TYPE))
    return Topics(image, camera_info, depth, depth_was_told=True)


def is_rectified(image: str) -> bool:
    """Whether an image topic holds rectified images, which image_proc names image_rect..."""
    return 'rect' in _words(image)


def _find_image(topics: Mapping[str, str]) -> str:
    candidates = [
        name
        for name, kind in topics.items()
        if kind in (IMAGE_TYPE, COMPRESSED_TYPE)
        and not _words(name) & _NOT_A_VIEW
        and not name.endswith(_DEPTH_TRANSPORT)
    ]
    if not candidates:
        raise TopicError(
            f'no image topic of type {IMAGE_TYPE} or {COMPRESSED_TYPE}; {_listing(topics)}'
        )

    def preference(name: str) -> tuple[bool, bool, bool, int, bool, str]:
        base = _without_transport(name).rsplit('/', 1)[-1]
        rank = _BASE_NAMES.index(base) if base in _BASE_NAMES else len(_BASE_NAMES)
        return (
            not any(info in topics for info in _camera_info_names(name)),
            not _words(name) & _COLOUR,
            'right' in _words(name),  # of a stereo pair the left is the reference
            rank,
            topics[name] == COMPRESSED_TYPE,
            name,
        )

    return min(candidates, key=preference)


def _find_camera_info(topics: Mapping[str, str], image: str) -> str:
    for name in _camera_info_names(image):
        if topics.get(name) == CAMERA_INFO_TYPE:
            return name
    infos = [name for name, kind in topics.items() if kind == CAMERA_INFO_TYPE]
    if len(infos) == 1:
        return infos[0]
    raise TopicError(
        f'no camera_info topic beside {image}: expected {_camera_info_names(image)[0]}, or name '
        f'one with --camera-info; {_listing(topics)}'
    )


def _find_depth(topics: Mapping[str, str], image: str) -> str | None:
    candidates = [
        name
        for name, kind in topics.items()
        if kind in (IMAGE_TYPE, COMPRESSED_TYPE)
        and _words(_without_transport(name)) & _DEPTH
        and not _is_prediction(topics, name)
    ]
    namespace = _words(image.rsplit('/', 1)[0])

    def preference(name: str) -> tuple[bool, int, bool, bool, str]:
        return (
            not _words(name) & _REGISTERED,
            -len(_words(name) & namespace),
            topics[name] == COMPRESSED_TYPE,
            not name.endswith(_DEPTH_TRANSPORT),
            name,
        )

    return min(candidates, key=preference, default=None)


def _is_prediction(topics: Mapping[str, str], depth: str) -> bool:
    """Whether a depth topic is one of ours: they come with their uncertainty."""
    return depth.rsplit('/', 1)[0] + '/uncertainty' in topics


def _camera_info_names(image: str) -> tuple[str, str]:
    """Where the camera_info of an image topic is: beside it, or below it."""
    image = _without_transport(image)
    return image.rsplit('/', 1)[0] + '/camera_info', image + '/camera_info'


def _without_transport(image: str) -> str:
    """/camera/image_raw of /camera/image_raw/compressed, as image_transport names its topics."""
    return image.removesuffix('/compressed').removesuffix(_DEPTH_TRANSPORT)


def _words(topic: str) -> set[str]:
    return set(re.split(r'[/_]', topic.lower()))


def _check(topics: Mapping[str, str], name: str, expected: tuple[str, ...]) -> None:
    if name not in topics:
        raise TopicError(f'no topic {name}; {_listing(topics)}')
    if topics[name] not in expected:
        raise TopicError(f'topic {name} is {topics[name]}, expected {" or ".join(expected)}')


def _listing(topics: Mapping[str, str]) -> str:
    if not topics:
        return 'the bag is empty'
    return 'the bag has ' + ', '.join(f'{name} ({kind})' for name, kind in sorted(topics.items()))

"""A node under test and, across DDS, the camera that feeds it and the ear that hears it."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metric_depth_ros import checkpoint
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.nn.rin import RinConfig
from metric_depth_ros.ros.child_node import large_message_profile

# Fast DDS reads its profile once a process, when the first node is made.
os.environ.update(large_message_profile())

WIDTH, HEIGHT = 64, 48
FRAME_ID = 'camera_color_optical_frame'


@pytest.fixture(scope='session')
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a GRIN that is tiny, random and therefore wrong, but a GRIN."""
    torch.manual_seed(0)
    rin = RinConfig(16, 16, 4, 1, 1, 1, 1, 8, 1)
    config = GrinConfig(
        rin=rin,
        encoder_width=8,
        global_width=16,
        local_width=8,
        local_kernel=3,
        ray_bands=2,
        centre_bands=2,
        num_steps=1,
        working_pixels=WIDTH * HEIGHT // 4,
    )
    folder = tmp_path_factory.mktemp('models') / 'tiny'
    checkpoint.save(folder, Grin(config), checkpoint.Card('tiny', 'Apache-2.0', 'random'))
    return folder


class Rig:
    """One DepthNode and one client in an executor that spins in a thread of its own.

    received: topic (as in the code of the node) -> messages, in order of arrival.
    """

    def __init__(self, context: Any, namespace: str, overrides: dict[str, Any]) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rcl_interfaces.msg import Log
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter
        from rclpy.qos import qos_profile_rosout_default
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        from metric_depth_ros.ros.depth_node import DepthNode

        self.received: dict[str, list[Any]] = defaultdict(list)
        self.namespace = namespace
        self.client = rclpy.create_node('client', context=context, namespace=namespace)
        self.images = self.client.create_publisher(Image, 'image', 10)
        self.jpegs = self.client.create_publisher(CompressedImage, 'image/compressed', 10)
        self.infos = self.client.create_publisher(CameraInfo, 'camera_info', 10)
        self.outputs = [
            self._listen(Image, 'depth/image'),
            self._listen(Image, 'depth/uncertainty'),
            self._listen(CameraInfo, 'depth/camera_info'),
            self._listen(PointCloud2, 'depth/points'),
        ]
        self._listen(DiagnosticArray, '/diagnostics')
        self._listen(Log, '/rosout', qos_profile_rosout_default)
        self.node = DepthNode(
            context=context,
            namespace=namespace,
            parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
        )
        self._executor = SingleThreadedExecutor(context=context)
        for node in (self.client, self.node):
            self._executor.add_node(node)
        self._spinning = threading.Thread(target=self._executor.spin, daemon=True)
        self._spinning.start()

    def _listen(self, kind: type, topic: str, qos: Any = 10) -> Any:
        return self.client.create_subscription(kind, topic, self.received[topic].append, qos)

    def start(self) -> Rig:
        """Configure and activate the node, and wait until DDS has brought everyone together."""
        assert self.node.start()
        self.wait_connected()
        return self

    def wait_connected(self) -> None:
        compressed = self.node.parameters.image_transport == 'compressed'
        images = self.jpegs if compressed else self.images
        self.wait(lambda: images.get_subscription_count() and self.infos.get_subscription_count())
        self.wait(lambda: all(self.publisher_counts()))
        self.wait(lambda: all(p.get_subscription_count() for p in self.node_publishers()))
        self.wait(lambda: self.node.count_publishers(images.topic_name))
        self.wait(lambda: self.node.count_publishers(self.infos.topic_name))

    def publisher_counts(self) -> list[int]:
        return [self.client.count_publishers(output.topic_name) for output in self.outputs]

    def node_publishers(self) -> list[Any]:
        heard = {f'{self.namespace}/{topic}' for topic in self.received}
        return [p for p in self.node.publishers if p.topic_name in heard]

    def close(self) -> None:
        self.node.stop()
        self._executor.shutdown()
        self._spinning.join()
        self.node.destroy_node()
        self.client.destroy_node()

    def wait(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f'waited {timeout_s} s in vain: {self.warnings()}'
            time.sleep(0.005)

    def warnings(self) -> list[str]:
        """What the node has logged as a warning or worse."""
        name = f'{self.namespace}/depth_node'.strip('/').replace('/', '.')
        logs = [log for log in self.received['/rosout'] if log.name == name]
        return [log.msg for log in logs if log.level >= log.WARN]

    def status(self) -> dict[str, str]:
        """The latest /diagnostics of this node; before the first, every value is ''."""
        name = f'{self.node.get_fully_qualified_name()}: depth'
        arrays = [a for a in self.received['/diagnostics'] if a.status[0].name == name]
        values = arrays[-1].status[0].values if arrays else []
        return defaultdict(str, {pair.key: pair.value for pair in values})

    def header(self, stamp: int, frame_id: str = FRAME_ID) -> Any:
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        return Header(stamp=Time(sec=stamp, nanosec=stamp + 7), frame_id=frame_id)

    def send_info(self, **changes: Any) -> None:
        from sensor_msgs.msg import CameraInfo

        values: dict[str, Any] = {
            'header': self.header(0),
            'width': WIDTH,
            'height': HEIGHT,
            'distortion_model': 'plumb_bob',
            'd': [0.0] * 5,
            'k': [60.0, 0.0, 31.0, 0.0, 61.0, 23.0, 0.0, 0.0, 1.0],
            'r': [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            'p': [60.0, 0.0, 31.0, 0.0, 0.0, 61.0, 23.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
        self.infos.publish(CameraInfo(**values | changes))

    def image(self, stamp: int, **changes: Any) -> Any:
        """An rgb8 image whose pixels follow from its stamp."""
        from sensor_msgs.msg import Image

        values: dict[str, Any] = {
            'header': self.header(stamp),
            'width': WIDTH,
            'height': HEIGHT,
            'encoding': 'rgb8',
            'step': 3 * WIDTH,
            'data': picture(stamp).tobytes(),
        }
        return Image(**values | changes)

    def send_image(self, stamp: int, **changes: Any) -> None:
        self.images.publish(self.image(stamp, **changes))

    def stamps(self, topic: str) -> list[int]:
        return [message.header.stamp.sec for message in self.received[topic]]

    def expect(self, stamp: int, *topics: str) -> None:
        """Wait until the answer to the image of this stamp is there on each topic."""
        for topic in topics or ('depth/image',):
            self.wait(lambda topic=topic: stamp in self.stamps(topic))


def picture(seed: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def ros_context() -> Iterator[Any]:
    rclpy = pytest.importorskip('rclpy')
    from rclpy.signals import SignalHandlerOptions

    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    yield context
    context.shutdown()


@pytest.fixture
def make_rig(
    ros_context: Any, model_folder: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Rig]]:
    """Makes a Rig of a node with the parameters given, in a namespace of the test's own."""
    rigs = []

    def make(**overrides: Any) -> Rig:
        name = ''.join(c if c.isalnum() else '_' for c in request.node.name).strip('_')
        parameters = {'model': str(model_folder), 'device': 'cpu', 'samples': 2} | overrides
        rigs.append(Rig(ros_context, f'/{name}_{len(rigs)}', parameters))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()

"""depth_node: an image and its camera_info in; metric depth, uncertainty and a cloud out.

    ros2 run metric_depth_ros depth_node --ros-args -r image:=/camera/image_raw \\
        -r camera_info:=/camera/camera_info -p samples:=8

Callbacks only leave messages in an inbox. One worker thread takes the newest, turns it into depth
and publishes: a slow model drops frames, it never lags behind them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..errors import MetricDepthError
from ..messages import frame_from_messages
from ..predictor import Predictor, load_predictor
from ..types import CameraError, DepthPrediction, Frame
from .diagnostics import Health
from .inbox import Delivery, Inbox
from .outputs import Outputs, select
from .parameters import Parameters
from .running import run
from .worker_node import CAMERA_INFO_PATIENCE_S, SUCCESS, WorkerNode

if TYPE_CHECKING:
    from rclpy.subscription import Subscription

QUEUE_DEPTH = 5

_QOS = {
    'best_effort': QoSProfile(depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT),
    'reliable': QoSProfile(depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE),
    'sensor_data': qos_profile_sensor_data,
}


class DepthNode(WorkerNode[Parameters]):
    """See the module. Topics and parameters are in README.md and ros/parameters.py.

    unconfigured -> `configure` loads the model -> inactive -> `activate` subscribes -> active.

    on_prediction: called with every frame and its depth once they are published, in the worker's
    thread, by whoever shares this process and wants them uncopied.

    Raises:
        ParameterError: a parameter that was given is of the wrong type or not allowed.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__('depth_node', Parameters, **node_options)
        self.on_prediction: Callable[[Frame, DepthPrediction], None] | None = None
        self._predictor: Predictor | None = None
        self._outputs: Outputs | None = None
        self._inbox: Inbox | None = None
        self._inputs: list[Subscription] = []
        self._novelty: float | None = None
        self._image_topic = self._camera_info_topic = ''

    # The way of one frame

    def _receive_camera_info(self, message: CameraInfo) -> None:
        if self._inbox is not None:
            self._inbox.put_camera_info(message)

    def _receive_image(self, message: Image | CompressedImage) -> None:
        if self._inbox is not None:
            self.health.received += 1
            self.health.dropped += self._inbox.put_image(message)

    def _work(self, inbox: Inbox, predictor: Predictor, outputs: Outputs) -> None:
        """The worker thread: one frame after another until the inbox is closed."""
        while (delivery := inbox.take()) is not None:
            try:
                self._process(delivery, predictor, outputs)
            except Exception as error:  # one bad frame must not end the node
                if not self.context.ok():  # shut down underneath us: nothing can be published
                    return
                self.health.failed += 1
                self._complain(error, delivery)
            else:
                self.health.finish(time.monotonic() - delivery.received_s)

    def _process(self, delivery: Delivery, predictor: Predictor, outputs: Outputs) -> None:
        """Messages -> frame -> prediction -> messages."""
        chosen = self.parameters  # one consistent set, whatever is changed meanwhile
        header = delivery.image.header
        self._compare_frame_ids(delivery.camera_info.header.frame_id, header.frame_id)
        frame = frame_from_messages(
            delivery.image, delivery.camera_info, rectified=chosen.rectified
        )
        predictor.num_samples = chosen.samples
        predictor.num_steps = chosen.steps or None
        predictor.seed = chosen.seed
        prediction = select(predictor(frame), chosen)
        self._novelty = prediction.novelty
        outputs.publish(prediction, frame, delivery, chosen)
        if self.on_prediction is not None:
            self.on_prediction(frame, prediction)

    # What goes wrong

    def _complain(self, error: Exception, delivery: Delivery) -> None:
        """Say which topic caused `error`; for a fault of ours also where, once a kind."""
        if isinstance(error, CameraError):
            self._warn(f'{self._camera_info_topic}: {error}')
        elif isinstance(error, MetricDepthError):
            self._warn(f'{self._image_topic}: {error}')
        elif isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
            self._warn(
                f'{self._image_topic}: no GPU memory left with samples = '
                f'{self.parameters.samples}, expected fewer samples or a smaller model'
            )
        else:
            self._show_traceback(error)
            self._warn(f'{self._image_topic}: frame lost: {type(error).__name__}: {error}')

    def _compare_frame_ids(self, info_frame_id: str, image_frame_id: str) -> None:
        """Say once that the two differ, which hurts nobody but hints at a wrong camera_info."""
        if info_frame_id != image_frame_id:
            self.get_logger().warning(
                f'{self._camera_info_topic}: frame_id is {info_frame_id!r}, expected '
                f"{self._image_topic}'s {image_frame_id!r}, which is used",
                once=True,
            )

    def _status(self) -> DiagnosticStatus:
        if self._inbox is not None and self._inbox.lacks_camera_info(CAMERA_INFO_PATIENCE_S):
            self._warn(
                f'{self._camera_info_topic}: 0 messages so far, expected a camera_info for the '
                f'images on {self._image_topic}, which wait for it'
            )
        predictor = self._predictor
        return self.health.status(
            f'{self.get_fully_qualified_name()}: depth',
            device=str(predictor.device) if predictor else self.parameters.device,
            model=predictor.name if predictor else self.parameters.model,
            state='inactive' if self.worker is None else 'active',
            novelty='' if self._novelty is None else f'{self._novelty:.2f}',
            image_publishers=self._count_publishers(self._image_topic),
            camera_info_publishers=self._count_publishers(self._camera_info_topic),
        )

    def _count_publishers(self, topic: str) -> str:
        return str(self.count_publishers(topic)) if self.worker is not None else '0'

    # Lifecycle

    @property
    def configured(self) -> bool:
        return self._predictor is not None

    def _begin(self) -> None:
        chosen = self.parameters
        self._predictor = load_predictor(
            chosen.model,
            device=chosen.device,
            num_samples=chosen.samples,
            num_steps=chosen.steps or None,
            seed=chosen.seed,
            coarse=chosen.coarse or None,
            scale=chosen.scale or None,
            precision=chosen.precision,
        )
        self._outputs = Outputs(self, _QOS[chosen.qos_publish], self._predictor.name)

    def _cannot_begin(self) -> str:
        return f'cannot load model {self.parameters.model!r}'

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        qos = _QOS[self.parameters.qos_subscribe]
        if self.parameters.image_transport == 'compressed':
            image_type, topic = CompressedImage, 'image/compressed'
        else:
            image_type, topic = Image, 'image'
        self.health = Health()
        self._novelty = None
        self._inbox = Inbox()
        images = self.create_subscription(image_type, topic, self._receive_image, qos)
        infos = self.create_subscription(CameraInfo, 'camera_info', self._receive_camera_info, qos)
        self._inputs = [images, infos]
        self._image_topic, self._camera_info_topic = images.topic_name, infos.topic_name
        worker = threading.Thread(
            target=self._work, args=(self._inbox, self._predictor, self._outputs), name='depth'
        )
        result = self._activate(state, worker)
        self.get_logger().info(f'depth of {self._image_topic} with {self.parameters.model}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return SUCCESS

    def stop(self) -> None:
        """Stop listening and wait for the frame that is being worked on."""
        if self._inbox is not None:
            self._inbox.close()
        self._end_worker()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inbox, self._inputs = None, []

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._predictor = self._outputs = None


def main(args: list[str] | None = None) -> int:
    """Run depth_node until SIGINT or SIGTERM: exit status 0; 2 if it cannot start."""
    return run('depth_node', lambda: [DepthNode()], args)


if __name__ == '__main__':
    sys.exit(main())

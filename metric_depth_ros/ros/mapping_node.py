"""mapping_node: images, their depth and uncertainty in; a map out, while the camera moves.

    ros2 run metric_depth_ros mapping_node --ros-args -r image:=/camera/image_raw \\
        -p poses:=odometry -r odom:=/robot/odom

Callbacks only put messages together. One worker thread takes the newest frame whose pose is known,
fuses it and, at a low rate, publishes the map.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ..errors import MetricDepthError
from ..types import DepthPrediction, Frame
from .autosave import Autosave
from .diagnostics import Health
from .map_keeper import MapKeeper
from .mapping_inputs import WAITING_FOR_POSES, MappingInputs, PoseSource, frame_and_depth
from .mapping_outputs import MappingOutputs, header_of
from .mapping_parameters import MappingParameters
from .pairing import Observation, ObservationQueue
from .running import run
from .worker_node import CAMERA_INFO_PATIENCE_S, FAILURE, SUCCESS, WorkerNode

IDLE_S = 0.2  # the worker looks up so often when nothing comes
MAX_SHARE = 0.25  # of the time, that publishing the map may take


class MappingNode(WorkerNode[MappingParameters]):
    """See the module. Topics are in README.md, parameters in ros/mapping_parameters.py.

    unconfigured -> `configure` begins a map -> inactive -> `activate` subscribes -> active.
    `cleanup` saves the map and ends it; what follows is another one.

    Args:
        direct: frames come from a depth_node in this process, by `hand_over`.

    Raises:
        ParameterError: a parameter that was given is of the wrong type or not allowed.
    """

    def __init__(self, *, direct: bool = False, **node_options: Any) -> None:
        super().__init__('mapping_node', MappingParameters, **node_options)
        self.keeper: MapKeeper | None = None
        self.lost_map = False  # it could not be saved at the end
        self._direct = direct
        self._source: PoseSource | None = None
        self._outputs: MappingOutputs | None = None
        self._inputs: MappingInputs | None = None
        self._queue: ObservationQueue | None = None
        self._save_service: Any = None
        self._autosave: Autosave | None = None
        self._header = Header()  # of the last frame that was fused
        self._published_s, self._publishing_took_s = 0.0, 0.0
        self._published: Any = None  # frames and listeners at the last time

    def hand_over(self, frame: Frame, prediction: DepthPrediction) -> None:
        """Take a frame from a depth_node in this process, in its thread."""
        if self._inputs is not None:
            self._inputs.hand_over(frame, prediction)

    # The way of one frame

    def _work(self, queue: ObservationQueue, keeper: MapKeeper, outputs: MappingOutputs) -> None:
        """The worker thread: one frame after another until the queue is closed and empty."""
        while True:
            taken = queue.take(0.0 if keeper.wants_refinement else IDLE_S)
            if taken is None:
                return
            self.health.received += taken.came
            self.health.dropped += taken.dropped
            for reason in taken.refused:
                self.health.failed += 1
                self._warn(f'frame refused: {reason}')
            try:
                if taken.observation is not None:
                    self._fuse(taken.observation, taken.world_from_camera, keeper, outputs)
                elif keeper.wants_refinement:
                    keeper.refine()
                self._publish_if_due(keeper, outputs)
            except Exception as error:  # one bad frame must not end the node
                if not self.context.ok():  # shut down underneath us: nothing can be published
                    continue
                self.health.failed += taken.observation is not None
                self._complain(error)

    def _fuse(
        self,
        observation: Observation,
        map_from_camera: Any,
        keeper: MapKeeper,
        outputs: MappingOutputs,
    ) -> None:
        frame, prediction = frame_and_depth(observation.messages)
        added = keeper.add(frame, prediction, map_from_camera)
        if added.why:
            self.health.failed += 1
            self._warn(f'frame not fused: {added.why}')
            return
        if keeper.at_limit:
            self._warn(_limit_text(keeper))
        self._header = header_of(frame.stamp_ns, self._map_frame())
        outputs.publish_pose(added.world_from_camera, self._header, frame.frame_id)
        self.health.finish(time.monotonic() - observation.received_s)

    def _map_frame(self) -> str:
        poses = self._source.poses if self._source is not None else None
        return poses.map_frame if poses is not None else self.parameters.map_frame

    def _publish_if_due(self, keeper: MapKeeper, outputs: MappingOutputs) -> None:
        """The map, if it or its listeners are others than last time, and that was long ago."""
        began = time.monotonic()
        pause = max(self.parameters.publish_period, self._publishing_took_s / MAX_SHARE)
        now = (keeper.stats.frames, outputs.listeners())
        if not keeper.stats.frames or now == self._published or began < self._published_s + pause:
            return
        with keeper.using() as mapper:
            outputs.publish_map(mapper, self._header, self.parameters)
        self._published, self._published_s = now, time.monotonic()
        self._publishing_took_s = self._published_s - began

    # What goes wrong

    def _complain(self, error: Exception) -> None:
        """Say what went wrong; for a fault of ours also where, once a kind."""
        if isinstance(error, MetricDepthError):
            self._warn(f'frame not fused: {error}')
            return
        if isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
        else:
            self._show_traceback(error)
        self._warn(f'frame lost: {type(error).__name__}: {error}')

    def _status(self) -> DiagnosticStatus:
        if self._inputs is not None and self._inputs.lacks_camera_info(CAMERA_INFO_PATIENCE_S):
            self._warn(
                'depth/camera_info: 0 messages so far, expected a camera_info for the depth, '
                'which waits for it'
            )
        keeper = self.keeper
        status = self.health.status(
            f'{self.get_fully_qualified_name()}: map',
            device=str(keeper.device) if keeper else self.parameters.device,
            state='inactive' if self.worker is None else 'active',
            poses=self.parameters.poses,
            **self._counts(),
        )
        if keeper is not None and keeper.at_limit:
            status.level = DiagnosticStatus.WARN
            status.message = _limit_text(keeper)
        return status

    def _counts(self) -> dict[str, str]:
        """What the map and its inputs have counted."""
        counts: dict[str, str] = {}
        source, inputs, keeper = self._source, self._inputs, self.keeper
        if inputs is not None:
            refused = source.refused if source is not None else 0
            counts['poses_refused'] = str(refused + inputs.bad_poses)
            counts |= {f'{name}_unmatched': str(n) for name, n in inputs.unmatched.items()}
        if keeper is not None:
            stats = keeper.stats
            counts |= {
                'frames': str(stats.frames),
                'lost': str(stats.lost),
                'path_m': f'{stats.path_m:.2f}',
                'voxels_mb': f'{stats.voxel_bytes / 1e6:.1f}',
                'memory_mb': str(self.parameters.memory_mb),
                'blocks': str(stats.blocks),
                'max_blocks': str(stats.max_blocks),
                'blocks_dropped': str(stats.dropped),
                'blocks_refused': str(stats.refused),
                'key_frames': str(stats.key_frames),
                'gaussians': str(stats.gaussians),
                'gaussians_refused': str(stats.refused_gaussians),
                'folder': str(keeper.folder),
                'frames_saved': str(keeper.saved_frames),
                'unsaved': str(keeper.unsaved).lower(),
            }
        return counts

    # Saving

    def _autosave_failed(self, text: str) -> None:
        if self.context.ok():  # else there is no /rosout, and `rescue` is to come
            self._warn(text)

    def _save(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            if self.keeper is None:
                raise MetricDepthError('not configured, there is no map to save')
            response.message = self.keeper.save()
            response.success = True
            self.get_logger().info(response.message)
        except MetricDepthError as error:
            response.message = str(error)
            self.get_logger().error(f'save: {error}')
        return response

    def rescue(self) -> bool:
        """Save what is not saved yet, unless told not to; False if that cannot be."""
        keeper = self.keeper
        if keeper is None or not keeper.unsaved or not self.parameters.save_on_shutdown:
            return True
        try:
            text, saved = keeper.rescue(), True
        except MetricDepthError as error:
            text, saved = f'map not saved: {error}', False
        if not self.context.ok():  # after a signal there is no /rosout to log to
            print(f'mapping_node: {text}', file=sys.stderr)
        elif saved:
            self.get_logger().info(text)
        else:
            self.get_logger().error(text)
        return saved

    # Lifecycle

    @property
    def configured(self) -> bool:
        return self.keeper is not None

    def _begin(self) -> None:
        self._source = PoseSource(self.parameters)
        self.keeper = MapKeeper(self.parameters)
        reliable = self.parameters.qos_publish == 'reliable'
        self._outputs = MappingOutputs(
            self,
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        self._save_service = self.create_service(Trigger, '~/save', self._save)
        if self.parameters.autosave_s:
            self._autosave = Autosave(
                self.keeper, self.parameters.autosave_s, self._autosave_failed
            )

    def _cannot_begin(self) -> str:
        return 'cannot begin a map'

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._source is not None
        chosen = self.parameters
        self.health = Health()
        self._queue = ObservationQueue(self._source.poses, WAITING_FOR_POSES, chosen.pose_patience)
        self._inputs = MappingInputs(
            self, chosen, self._source, self._queue, warn=self._warn, direct=self._direct
        )
        worker = threading.Thread(
            target=self._work, args=(self._queue, self.keeper, self._outputs), name='mapping'
        )
        result = self._activate(state, worker)
        images = 'a depth_node in this process' if self._direct else self._inputs.topics['image']
        poses = self._inputs.topics.get('poses', 'odometry of its own')
        self.get_logger().info(f'map of {images}, poses by {poses}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_listening()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self.rescue():
            return FAILURE  # the map is still here: make room and try again
        self._release()
        return SUCCESS

    def stop(self) -> None:
        """Stop listening, finish the frame in hand and save."""
        self._stop_listening()
        self._stop_autosave()
        self.lost_map = not self.rescue()

    def _stop_listening(self) -> None:
        if self._queue is not None:
            self._queue.close()
        self._end_worker()
        if self._inputs is not None:
            self._inputs.close()
        self._queue, self._inputs = None, None

    def _stop_autosave(self) -> None:
        if self._autosave is not None:
            self._autosave.stop()
        self._autosave = None

    def _release(self) -> None:
        self._stop_autosave()
        if self._outputs is not None:
            self._outputs.destroy()
        if self._save_service is not None:
            self.destroy_service(self._save_service)
        self.keeper = self._source = self._outputs = self._save_service = None
        self._published = None


def _limit_text(keeper: MapKeeper) -> str:
    """What the memory limits have cost."""
    stats, text = keeper.stats, []
    if stats.dropped or stats.refused:
        text.append(
            f'memory_mb is reached: {stats.dropped} far blocks moved to {keeper.folder}/overflow, '
            f'{stats.refused} too far ones not mapped'
        )
    if stats.refused_gaussians:
        text.append(f'max_gaussians is reached: {stats.refused_gaussians} not made')
    return '; '.join(text)


def main(args: list[str] | None = None) -> int:
    """Run mapping_node until SIGINT or SIGTERM: exit status 0; 1 if the map could not be saved;
    2 if it cannot start."""
    nodes: list[MappingNode] = []

    def make() -> list[MappingNode]:
        nodes.append(MappingNode())
        return nodes

    status = run('mapping_node', make, args)
    return status or int(any(node.lost_map for node in nodes))


if __name__ == '__main__':
    sys.exit(main())

"""Parameters of mapping_node, and what they make: settings of a map, limits of poses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import rigid
from ..mapping.block_grid import BYTES_PER_BLOCK
from ..mapping.gating import Gates, Weighting
from ..mapping.mapper import MapSettings
from ..mapping.odometry import OdometryConfig
from ..mapping.poses import PoseLimits
from ..mapping.splat import SplatSettings
from .parameters import (
    IMAGE_TRANSPORTS,
    PUBLISH_QOS,
    SUBSCRIBE_QOS,
    ParameterError,
    parameter,
)

POSE_SOURCES = ('own', 'odometry', 'pose', 'tf')
WEIGHTINGS = ('uncertainty', 'uniform')
WHERE_FAST = ('auto', 'always', 'never')  # on and off would be booleans in YAML
_POSES_KEPT = 2000  # of each body: ten seconds at 200 Hz
_GROWTH = 1.5  # voxels take half as much again while their memory grows


@dataclass(frozen=True)
class MappingParameters:
    """The values mapping_node works with."""

    poses: str = parameter(
        'own',
        'where poses come from: own (odometry on the depth itself), odometry (nav_msgs/Odometry '
        'on odom), pose (geometry_msgs/PoseStamped on pose), tf (from map_frame)',
        choices=POSE_SOURCES,
    )
    map_frame: str = parameter(
        'map', 'frame of the map where poses are own or tf; else it is that of the poses'
    )
    track_map: str = parameter(
        'auto',
        'own odometry corrects itself to the map, which it has to look at then at every frame: '
        'always, never, or where the map is on CUDA (auto)',
        choices=WHERE_FAST,
    )
    body_from_camera: str = parameter(
        '',
        'where the camera is in the body that odom or pose speak of: x y z qx qy qz qw; '
        "'' = from tf if it is another frame than the image's",
        optional=True,
    )
    max_pose_gap: float = parameter(
        1.0, 'seconds between two poses that are interpolated', low=0.0, high=60.0
    )
    max_pose_age: float = parameter(
        0.05, 'seconds that a single pose is good for', low=0.0, high=10.0
    )
    max_pose_jump: float = parameter(
        10.0, 'metres from one pose to the next that are believed', low=0.0, high=1e6
    )
    pose_patience: float = parameter(
        0.5, 'seconds that a frame waits for its pose', low=0.0, high=60.0
    )

    image_transport: str = parameter(
        'raw', 'subscribe to image, or to image/compressed', choices=IMAGE_TRANSPORTS
    )
    use_uncertainty: bool = parameter(
        True, 'wait for depth/uncertainty; false for depth that comes without it'
    )
    image_queue: int = parameter(100, 'images kept until their depth comes', low=1, high=10_000)
    qos_subscribe: str = parameter(
        'best_effort', 'reliability of the subscriptions', choices=SUBSCRIBE_QOS
    )
    qos_publish: str = parameter('reliable', 'reliability of the publishers', choices=PUBLISH_QOS)

    device: str = parameter('auto', 'where the map is: auto, cpu, cuda, cuda:1 ...')
    voxel_size: float = parameter(0.02, 'metres along the edge of a voxel', low=0.001, high=10.0)
    truncation_voxels: float = parameter(
        4.0, 'voxels either side of a surface that are mapped', low=1.0, high=100.0
    )
    memory_mb: int = parameter(
        1500,
        'megabytes that voxels may take; then the farthest from the camera go to a file, and come '
        'back when the map is saved',
        low=16,
        high=1_000_000,
    )
    min_depth: float = parameter(0.1, 'metres; nearer depth is not fused', low=0.0, high=1000.0)
    max_depth: float = parameter(
        10.0, 'metres; depth beyond is not fused', low=0.01, high=10_000.0
    )
    max_relative_std: float = parameter(
        1.0,
        'depth whose standard deviation is a larger share of it is not fused; what the others are '
        'worth is for the weights to say',
        low=0.0001,
        high=1e9,
    )
    max_jump: float = parameter(
        0.1, 'depth that bends by a larger share from pixel to pixel is an edge and not fused',
        low=0.0001, high=1e9,
    )  # fmt: skip
    weighting: str = parameter(
        'uncertainty', 'whether a pixel counts by its uncertainty, or all count the same',
        choices=WEIGHTINGS,
    )  # fmt: skip
    min_views: int = parameter(
        1, 'the surface is only where so many views saw it', low=1, high=255
    )

    splat: str = parameter(
        'auto',
        'make Gaussians as well: always, never, or where the map is on CUDA (auto)',
        choices=WHERE_FAST,
    )
    splat_steps: int = parameter(
        30, 'optimisation steps a key frame, taken while no frame waits', low=0, high=10_000
    )
    max_gaussians: int = parameter(
        50_000, 'so many Gaussians are made and no more', low=1, high=10**8
    )
    max_key_frames: int = parameter(
        100,
        'key frames of the Gaussians; beyond so many the most redundant one goes',
        low=1,
        high=100_000,
    )
    key_metres: float = parameter(
        0.2, 'metres that the camera moves from key frame to key frame', low=0.0, high=1000.0
    )
    key_degrees: float = parameter(15.0, 'or degrees that it turns', low=0.0, high=180.0)

    publish_period: float = parameter(
        2.0, 'seconds between two publications of the map; more where that takes long',
        low=0.05, high=3600.0, live=True,
    )  # fmt: skip
    publish_max_points: int = parameter(
        300_000, 'points of map/points at most', low=1, high=10**8, live=True
    )
    publish_max_triangles: int = parameter(
        20_000,
        'triangles of map/mesh at most, joined to larger ones',
        low=1,
        high=10**7,
        live=True,
    )

    folder: str = parameter(
        '~/.ros/maps', 'each map is saved in a folder of its own in here, named by its time'
    )
    autosave_s: float = parameter(
        60.0,
        'seconds from one saving of the map to the next while it changes, so that no more is lost '
        'with the power; 0 = only when asked and at the end',
        low=0.0,
        high=86400.0,
    )
    save_on_shutdown: bool = parameter(
        True, 'save the map when it is cleaned up and when the node ends', live=True
    )
    autostart: bool = parameter(True, 'configure and activate at start, unasked')

    def pose_limits(self) -> PoseLimits:
        """What a pose must be to be believed."""
        return PoseLimits(self.max_pose_gap, self.max_pose_age, self.max_pose_jump, _POSES_KEPT)

    def map_settings(self, device: torch.device, overflow: Path) -> MapSettings:
        """What the map is made with.

        Args:
            overflow: folder for what the limit of memory drops.

        Raises:
            MappingError: the values do not go together.
        """
        gates = Gates(
            min_depth=self.min_depth,
            max_depth=self.max_depth,
            max_relative_std=self.max_relative_std,
            max_jump=self.max_jump,
        )
        odometry = OdometryConfig()
        unknown = odometry.gates.assumed_relative_std
        gates_of_odometry = replace(gates, assumed_relative_std=unknown)
        fast = {'always': True, 'never': False, 'auto': device.type == 'cuda'}
        splat = SplatSettings(max_gaussians=self.max_gaussians, max_key_frames=self.max_key_frames)
        return MapSettings(
            voxel_size=self.voxel_size,
            truncation=self.truncation_voxels * self.voxel_size,
            max_blocks=max(1, int(self.memory_mb * 1e6 / (_GROWTH * BYTES_PER_BLOCK))),
            overflow=overflow,
            gates=gates,
            weighting=Weighting() if self.weighting == 'uncertainty' else Weighting.uniform(),
            min_views=self.min_views,
            splat=splat if fast[self.splat] else None,
            track_map=fast[self.track_map],
            key_metres=self.key_metres,
            key_degrees=self.key_degrees,
            odometry=replace(odometry, gates=gates_of_odometry),
        )


def motion(text: str) -> Tensor | None:
    """(4, 4) float64 of 'x y z qx qy qz qw'; None of ''.

    Raises:
        ParameterError: these are not seven finite numbers with a quaternion of length 1.
    """
    if not text.strip():
        return None
    try:
        numbers = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        numbers = []
    length = math.sqrt(sum(number**2 for number in numbers[3:]))
    if len(numbers) != 7 or not all(map(math.isfinite, numbers)) or abs(length - 1) > 1e-3:
        raise ParameterError(
            f'parameter body_from_camera is {text!r}, expected x y z qx qy qz qw: metres and a '
            f'quaternion of length 1'
        )
    values = torch.tensor(numbers, dtype=torch.float64)
    return rigid.rigid(values[:3], values[3:])

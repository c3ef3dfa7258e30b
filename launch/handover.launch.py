"""Somebody else's mapper on the depth of a depth_node that runs: see docs/mapping_handover.md.

ros2 launch metric_depth_ros handover.launch.py to:=rtabmap image:=/camera/image_rect
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

IMAGE, DEPTH, CAMERA_INFO = 'image', 'depth/image', 'depth/camera_info'


class Consumer(NamedTuple):  # a dataclass looks for its module, which launch does not register
    """One node of another package.

    topics: what it subscribes to -> what we publish, or IMAGE. frames: its parameter for a frame
    -> the argument of this file that tells it.
    """

    package: str
    executable: str
    topics: dict[str, str]
    parameters: Mapping[str, bool | int] = MappingProxyType({})
    frames: Mapping[str, str] = MappingProxyType({})


# depth/camera_info serves for the image too: it has its stamp, its size and its camera.
CONSUMERS = {
    'nvblox': [
        Consumer(
            'nvblox_ros',
            'nvblox_node',
            {
                'camera_0/depth/image': DEPTH,
                'camera_0/depth/camera_info': CAMERA_INFO,
                'camera_0/color/image': IMAGE,
                'camera_0/color/camera_info': CAMERA_INFO,
            },
            {'num_cameras': 1, 'use_lidar': False, 'use_tf_transforms': True},
            {'global_frame': 'fixed_frame'},
        )
    ],
    'rtabmap': [
        Consumer(
            'rtabmap_odom',
            'rgbd_odometry',
            {'rgb/image': IMAGE, 'rgb/camera_info': CAMERA_INFO, 'depth/image': DEPTH},
            # Stamps are equal, but depth comes later than its image by as long as it takes.
            {'approx_sync': False, 'sync_queue_size': 100, 'topic_queue_size': 10},
            {'frame_id': 'frame_id'},
        ),
        Consumer(
            'rtabmap_slam',
            'rtabmap',
            {'rgb/image': IMAGE, 'rgb/camera_info': CAMERA_INFO, 'depth/image': DEPTH},
            {
                'subscribe_depth': True,
                'subscribe_odom_info': True,
                'approx_sync': False,
                'sync_queue_size': 100,
                'topic_queue_size': 10,
            },
            {'frame_id': 'frame_id'},
        ),
    ],
    'depth_image_proc': [
        Consumer(
            'depth_image_proc',
            'point_cloud_xyzrgb_node',
            {
                'depth_registered/image_rect': DEPTH,
                'rgb/image_rect_color': IMAGE,
                'rgb/camera_info': CAMERA_INFO,
            },
            {'exact_sync': True, 'queue_size': 100},
        )
    ],
}
ARGUMENTS = {
    'image': ('/camera/image_raw', 'topic of the images that depth_node sees'),
    'frame_id': ('camera_link', 'frame of the robot, for rtabmap'),
    'fixed_frame': ('odom', 'frame of the map, for nvblox; transforms to it must be there'),
    'namespace': ('', 'namespace of depth_node'),
    'use_sim_time': ('false', 'take time from /clock'),
}


def nodes(context: LaunchContext) -> list[Node]:
    """The nodes of the consumer that was chosen."""

    def topic(name: str) -> LaunchConfiguration | str:
        return LaunchConfiguration('image') if name == IMAGE else name

    return [
        Node(
            package=consumer.package,
            executable=consumer.executable,
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                dict(consumer.parameters),
                {theirs: LaunchConfiguration(ours) for theirs, ours in consumer.frames.items()},
                {'use_sim_time': LaunchConfiguration('use_sim_time')},
            ],
            remappings=[(theirs, topic(ours)) for theirs, ours in consumer.topics.items()],
            output='screen',
        )
        for consumer in CONSUMERS[context.launch_configurations['to']]
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks this file for."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('to', choices=list(CONSUMERS), description='who gets the depth'),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=nodes),
        ]
    )

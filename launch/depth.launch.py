"""Depth from one camera: starts depth_node on its topics, and RViz on request.

ros2 launch metric_depth_ros depth.launch.py image:=/camera/image_raw rviz:=true
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

# Beside this folder in the sources and in share/ alike; --symlink-install links to the sources.
CONFIG = Path(__file__).resolve().parent.parent / 'config'
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'

# Overrides of params_file; empty leaves what the file says.
OVERRIDES = {
    'model': 'a model that `metric-depth models` lists, or a checkpoint folder',
    'coarse': 'the model whose depth is refined, for a model that needs one',
    'device': 'auto, cpu, cuda, cuda:1 ...',
    'compressed': 'true: subscribe to IMAGE/compressed',
}
ARGUMENTS = {
    'image': ('/camera/image_raw', 'topic of the images'),
    'camera_info': ('/camera/camera_info', 'topic of their CameraInfo'),
    'params_file': (str(CONFIG / 'depth.yaml'), 'parameters of the node'),
    'namespace': ('', 'namespace of the node and of its topics'),
    'use_sim_time': ('false', 'take time from /clock'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show image, depth, uncertainty and cloud'),
    'fixed_frame': ('camera_color_optical_frame', 'frame that RViz draws in'),
}


def depth_node(context: LaunchContext) -> list[Node]:
    """The node, once the arguments are known: only those that were given override params_file."""
    given = {name: context.launch_configurations[name] for name in OVERRIDES}
    overrides = {name: value for name, value in given.items() if value}
    if compressed := overrides.pop('compressed', ''):
        is_compressed = IfCondition(compressed).evaluate(context)
        overrides['image_transport'] = 'compressed' if is_compressed else 'raw'
    image = LaunchConfiguration('image')
    return [
        Node(
            package='metric_depth_ros',
            executable='depth_node',
            name='depth_node',
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                LaunchConfiguration('params_file'),
                overrides,
                {'use_sim_time': LaunchConfiguration('use_sim_time')},
            ],
            remappings=[
                ('image', image),
                ('image/compressed', [image, '/compressed']),
                ('camera_info', LaunchConfiguration('camera_info')),
            ],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks this file for."""
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', str(CONFIG / 'depth.rviz'), '-f', LaunchConfiguration('fixed_frame')],
        parameters=[{'use_sim_time': LaunchConfiguration('use_sim_time')}],
        # The names in depth.rviz are those of the defaults; relative ones follow the namespace.
        remappings=[
            ('/camera/image_raw', LaunchConfiguration('image')),
            ('/camera/image_raw/compressed', [LaunchConfiguration('image'), '/compressed']),
            ('/depth/image', 'depth/image'),
            ('/depth/uncertainty', 'depth/uncertainty'),
            ('/depth/points', 'depth/points'),
        ],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value='', description=description)
                for name, description in OVERRIDES.items()
            ),
            # A profile of the user's own is respected.
            SetEnvironmentVariable(
                PROFILE_VARIABLE,
                EnvironmentVariable(
                    PROFILE_VARIABLE, default_value=str(CONFIG / 'fastdds_profile.xml')
                ),
            ),
            OpaqueFunction(function=depth_node),
            rviz,
        ]
    )

"""A map from one camera: depth_node and mapping_node on its topics, and RViz on request.

ros2 launch metric_depth_ros mapping.launch.py image:=/camera/image_raw rviz:=true
ros2 launch metric_depth_ros mapping.launch.py image:=/camera/image_raw poses:=odometry odom:=/odom
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
SAVING_S = '120'  # between the signals that end the nodes: writing a large map takes its time

# Overrides of the parameter files; empty leaves what the file says.
DEPTH_OVERRIDES = {
    'model': 'a model that `metric-depth models` lists, or a checkpoint folder',
    'coarse': 'the model whose depth is refined, for a model that needs one',
}
MAPPING_OVERRIDES = {
    'poses': 'own, odometry, pose or tf',
    'map_frame': 'frame of the map where poses are own or tf',
    'body_from_camera': 'x y z qx qy qz qw of the camera in the body that odom or pose speak of',
    'folder': 'where maps are saved',
}
SHARED_OVERRIDES = {
    'device': 'auto, cpu, cuda, cuda:1 ...',
    'compressed': 'true: subscribe to IMAGE/compressed',
}
ARGUMENTS = {
    'image': ('/camera/image_raw', 'topic of the images'),
    'camera_info': ('/camera/camera_info', 'topic of their CameraInfo'),
    'odom': ('/odom', 'topic of nav_msgs/Odometry, for poses:=odometry'),
    'pose': ('/pose', 'topic of geometry_msgs/PoseStamped, for poses:=pose'),
    'depth_params_file': (str(CONFIG / 'depth.yaml'), 'parameters of depth_node'),
    'mapping_params_file': (str(CONFIG / 'mapping.yaml'), 'parameters of mapping_node'),
    'composed': ('false', 'both nodes in one process: depth is handed over without a copy'),
    'namespace': ('', 'namespace of the nodes and of their topics'),
    'use_sim_time': ('false', 'take time from /clock'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'rviz': ('false', 'show image, depth, map and path'),
    'fixed_frame': ('map', 'frame that RViz draws in: map_frame, or that of the poses'),
}


def given(context: LaunchContext, names: dict[str, str]) -> dict[str, str]:
    """The overrides that were given, as parameters."""
    values = {name: context.launch_configurations[name] for name in names}
    overrides = {name: value for name, value in values.items() if value}
    if compressed := overrides.pop('compressed', ''):
        is_compressed = IfCondition(compressed).evaluate(context)
        overrides['image_transport'] = 'compressed' if is_compressed else 'raw'
    return overrides


def nodes(context: LaunchContext) -> list[Node]:
    """depth_node and mapping_node, in two processes or in one, once the arguments are known."""
    image = LaunchConfiguration('image')
    sim_time = {'use_sim_time': LaunchConfiguration('use_sim_time')}
    depth = [
        LaunchConfiguration('depth_params_file'),
        given(context, DEPTH_OVERRIDES | SHARED_OVERRIDES),
    ]
    mapping = [
        LaunchConfiguration('mapping_params_file'),
        given(context, MAPPING_OVERRIDES | SHARED_OVERRIDES),
    ]

    def node(executable: str, parameters: list) -> Node:
        # Without a name: that of a process would be given to both nodes in it.
        return Node(
            package='metric_depth_ros',
            executable=executable,
            namespace=LaunchConfiguration('namespace'),
            parameters=[*parameters, sim_time],
            remappings=[
                ('image', image),
                ('image/compressed', [image, '/compressed']),
                ('camera_info', LaunchConfiguration('camera_info')),
                ('odom', LaunchConfiguration('odom')),
                ('pose', LaunchConfiguration('pose')),
            ],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            sigterm_timeout=SAVING_S,
            sigkill_timeout=SAVING_S,
            output='screen',
        )

    if IfCondition(LaunchConfiguration('composed')).evaluate(context):
        return [node('depth_and_mapping', depth + mapping)]
    return [node('depth_node', depth), node('mapping_node', mapping)]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks this file for."""
    own_topics = ('depth/image', 'depth/uncertainty', 'map/points', 'map/mesh', 'map/path')
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', str(CONFIG / 'mapping.rviz'), '-f', LaunchConfiguration('fixed_frame')],
        parameters=[{'use_sim_time': LaunchConfiguration('use_sim_time')}],
        # The names in mapping.rviz are those of the defaults; relative ones follow the namespace.
        remappings=[
            ('/camera/image_raw', LaunchConfiguration('image')),
            *((f'/{topic}', topic) for topic in (*own_topics, 'map/odometry')),
        ],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    overrides = DEPTH_OVERRIDES | MAPPING_OVERRIDES | SHARED_OVERRIDES
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value='', description=description)
                for name, description in overrides.items()
            ),
            # A profile of the user's own is respected.
            SetEnvironmentVariable(
                PROFILE_VARIABLE,
                EnvironmentVariable(
                    PROFILE_VARIABLE, default_value=str(CONFIG / 'fastdds_profile.xml')
                ),
            ),
            OpaqueFunction(function=nodes),
            rviz,
        ]
    )

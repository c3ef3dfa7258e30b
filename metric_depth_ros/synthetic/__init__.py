"""Procedural scenes, ray-cast with exact depth for any camera model."""

from .cameras import random_camera, random_pose
from .generate import make_scenes
from .lidar import lidar_mask
from .render import Appearance, Rendered, render, render_batch
from .scene import Scenes
from .sensor import Sensor
from .trajectory import SequenceFrame, sequence, trajectory

__all__ = [
    'Appearance',
    'Rendered',
    'Scenes',
    'Sensor',
    'SequenceFrame',
    'lidar_mask',
    'make_scenes',
    'random_camera',
    'random_pose',
    'render',
    'render_batch',
    'sequence',
    'trajectory',
]

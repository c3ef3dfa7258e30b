"""Procedural scenes, ray-cast with exact depth for any camera model."""

from .cameras import random_camera
from .content import Content
from .generate import make_scenes
from .lidar import lidar_mask
from .render import Appearance, Rendered, render, render_batch
from .render_fields import render_fields_batch
from .scene import Scenes
from .sensor import Sensor
from .trajectory import SequenceFrame, sequence, trajectory
from .views import random_pose

__all__ = [
    'Appearance',
    'Content',
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
    'render_fields_batch',
    'sequence',
    'trajectory',
]

"""Procedural scenes, ray-cast with exact depth for any camera model."""

from .cameras import random_camera, random_pose
from .generate import make_scenes
from .render import Appearance, Rendered, render, render_batch
from .scene import Scenes

__all__ = [
    'Appearance',
    'Rendered',
    'Scenes',
    'make_scenes',
    'random_camera',
    'random_pose',
    'render',
    'render_batch',
]

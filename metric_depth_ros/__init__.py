"""Metric depth with an honest error bar from any calibrated camera.

from metric_depth_ros import Camera, Frame, load_predictor

predictor = load_predictor()
prediction = predictor(Frame(image, Camera(fx, fy, cx, cy, width, height)))
prediction.depth, prediction.std  # metres along z, (H, W)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = '0.1.0'

if TYPE_CHECKING:
    from .errors import MetricDepthError
    from .geometry import project, rays, unproject
    from .predictor import Predictor, load_predictor
    from .targets import Box
    from .types import Camera, DepthPrediction, Frame

__all__ = [
    'Box',
    'Camera',
    'DepthPrediction',
    'Frame',
    'MetricDepthError',
    'Predictor',
    'load_predictor',
    'project',
    'rays',
    'unproject',
]

_HOME = {
    'Box': 'targets',
    'Camera': 'types',
    'DepthPrediction': 'types',
    'Frame': 'types',
    'MetricDepthError': 'errors',
    'Predictor': 'predictor',
    'load_predictor': 'predictor',
    'project': 'geometry',
    'rays': 'geometry',
    'unproject': 'geometry',
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: torch alone takes a second to load."""
    if name in _HOME:
        return getattr(import_module(f'.{_HOME[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

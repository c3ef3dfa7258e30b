"""From depth to maps: TSDF fusion, Gaussian splatting, odometry. Knows no model and no ROS."""

from .view import MappingError, View

__all__ = ['MappingError', 'View']

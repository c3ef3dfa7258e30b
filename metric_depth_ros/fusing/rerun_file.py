"""A run as a .rrd file for the rerun viewer: what came in, and the map that came of it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import geometry, rigid
from ..errors import MetricDepthError
from ..mapping import View
from ..mapping.mapper import Added, Mapper
from ..mapping.preview import thinned
from .recordings import Recorded

# Entities of the recording: what has a place in the world is below it.
_WORLD, _CAMERA, _IMAGE = 'world', 'world/camera', 'world/camera/image'
_DEPTH, _CLOUD, _MESH, _PATH = f'{_IMAGE}/depth', 'world/cloud', 'world/mesh', 'world/path'
_TRUE_PATH, _STD, _ERROR = 'world/true_path', 'uncertainty', 'pose_error_metres'
_JPEG_QUALITY = 85
_MAX_POINTS = 100_000  # of the cloud while it grows
_CLOUD_EVERY = 10  # frames


class RerunError(MetricDepthError):
    """A recording that cannot be made: says why."""


class RerunFile:
    """An observer of `fuse` that writes image, depth, uncertainty, poses and the growing cloud.

    Times are the frames' own. A distorted image is shown as it is, unrectified. Use it as a
    context manager.

    Args:
        path: of the .rrd; replaced if it is there. mapper: the map that the frames go into.

    Raises:
        RerunError: rerun is not installed, or the file cannot be written.
    """

    def __init__(self, path: Path, mapper: Mapper) -> None:
        try:
            import rerun
        except ImportError:
            raise RerunError('rerun is not installed: pip install rerun-sdk') from None
        self._rr: Any = rerun
        self._mapper = mapper
        self._stream = rerun.RecordingStream('metric_depth_fuse')
        self._places: list[list[float]] = []
        self._true_places: list[list[float]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.open('wb').close()  # its own writer only logs that it cannot
            self._stream.save(path, default_blueprint=_blueprint())
        except Exception as error:  # whatever the library's writer stumbles on
            raise RerunError(f'{path} cannot be written: {error}') from None

    def __enter__(self) -> RerunFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()
        self._stream.disconnect()

    def __call__(self, recorded: Recorded, view: View, added: Added) -> None:
        """Log one frame."""
        rr, log, frame = self._rr, self._stream.log, view.frame
        pose, camera = view.world_from_camera, frame.camera
        if not self._places:
            log(_WORLD, _upright(rr, pose), static=True)
        self._stream.set_time('stamp', timestamp=np.datetime64(frame.stamp_ns, 'ns'))
        log(_CAMERA, rr.Transform3D(translation=pose[:3, 3].numpy(), mat3x3=pose[:3, :3].numpy()))
        size = (camera.width, camera.height)
        matrix = geometry.matrix(camera).numpy()
        log(_IMAGE, rr.Pinhole(image_from_camera=matrix, resolution=size))
        log(_IMAGE, rr.Image(frame.image.numpy()).compress(jpeg_quality=_JPEG_QUALITY))
        log(_DEPTH, rr.DepthImage(_finite(view.prediction.depth), meter=1.0))
        if bool(view.prediction.std.isfinite().any()):
            log(_STD, rr.DepthImage(_finite(view.prediction.std), meter=1.0, colormap='viridis'))
        self._places.append(pose[:3, 3].tolist())
        log(_PATH, rr.LineStrips3D([self._places], colors=[(220, 40, 40)]))
        truth = recorded.world_from_camera
        if truth is not None:
            self._true_places.append(truth[:3, 3].tolist())
            log(_TRUE_PATH, rr.LineStrips3D([self._true_places], colors=[(40, 40, 40)]))
            log(_ERROR, rr.Scalars(rigid.distance(rigid.inverse(truth) @ pose)))
        if len(self._places) % _CLOUD_EVERY == 1:
            self._log_cloud()

    def finish(self) -> None:
        """Log the cloud and the mesh of the whole map, at the last frame's time."""
        self._log_cloud()
        mesh = self._mapper.mesh()
        self._stream.log(
            _MESH,
            self._rr.Mesh3D(
                vertex_positions=mesh.vertices.numpy(),
                triangle_indices=mesh.triangles.numpy(),
                vertex_normals=mesh.normals.numpy(),
                vertex_colors=mesh.colours.numpy(),
            ),
        )

    def _log_cloud(self) -> None:
        cloud = thinned(self._mapper.cloud(), _MAX_POINTS)
        radius = self._mapper.settings.voxel_size / 2
        points, colours = cloud.points.numpy(), cloud.colours.numpy()
        self._stream.log(_CLOUD, self._rr.Points3D(points, colors=colours, radii=radius))


def _upright(rr: Any, first_pose: Tensor) -> Any:
    """The world's axes, of which the one nearest to the first image's up is up."""
    up = -first_pose[:3, 1]
    axis = int(up.abs().argmax())
    name = f'RIGHT_HAND_{"XYZ"[axis]}_{"UP" if float(up[axis]) > 0 else "DOWN"}'
    return getattr(rr.ViewCoordinates, name)


def _finite(values: Tensor) -> np.ndarray:
    """0 for what the viewer shall not show."""
    return torch.where(values.isfinite(), values, 0.0).numpy()


def _blueprint() -> Any:
    """The map to the left; image, depth and uncertainty to the right."""
    from rerun import blueprint

    return blueprint.Blueprint(
        blueprint.Horizontal(
            blueprint.Spatial3DView(origin=_WORLD),
            blueprint.Vertical(
                blueprint.Spatial2DView(origin=_IMAGE, contents=[_IMAGE], name='image'),
                blueprint.Spatial2DView(origin=_IMAGE, contents=[_DEPTH], name='depth'),
                blueprint.Spatial2DView(origin=_STD, name='uncertainty'),
            ),
            column_shares=[3, 1],
        )
    )

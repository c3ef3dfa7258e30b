"""Where predictions come from: a model, its coarse part alone, or somebody else's files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

import torch
from torch import Tensor

from .. import geometry
from ..errors import MetricDepthError
from ..predictor import Predictor
from ..types import Conditioning, DepthPrediction, Frame
from .depth_files import SUFFIXES, read_depth

_ENDINGS = ('', '_depth')  # `metric-depth predict` writes NAME_depth.npy
_PNG_UNIT = 0.001  # metres, as of `metric-depth predict`


class PredictionError(MetricDepthError):
    """A frame that has no prediction, or none that can be told from others."""


class Source(Protocol):
    """Something that predicts frames.

    name: what it is called in tables. identity: differs where the predictions would.
    """

    name: str

    @property
    def identity(self) -> str: ...

    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        """Of the frame called `name`.

        Raises:
            MetricDepthError: there is none, and why.
        """
        ...


class ModelSource:
    """A model, asked for every frame."""

    def __init__(self, predictor: Predictor) -> None:
        self.name = predictor.name
        self._predictor = predictor

    @property
    def identity(self) -> str:
        """Of weights, calibration, draws, steps and seed; the device does not count."""
        p = self._predictor
        settings = (p.calibration, p.num_samples, p.num_steps, p.seed)
        guide = '' if p.coarse is None else f' coarse {_weights_digest(p.coarse)}'
        scales = [getattr(q.method, 'scale', None) for q in (p, p.coarse) if q is not None]
        guide += f' scales {scales}' if any(scales) else ''
        return f'{_weights_digest(p)} {settings}{guide}'

    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        return self._predictor(frame)


class CoarseSource:
    """What a model says before any diffusion: its coarse part alone, without an error bar."""

    def __init__(self, predictor: Predictor) -> None:
        self.name = f'{predictor.name}, coarse alone'
        self._predictor = predictor

    @property
    def identity(self) -> str:
        return f'coarse {_weights_digest(self._predictor)}'

    @torch.inference_mode()
    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        view = self._predictor.view_camera(frame.camera)
        depth = _regress(self._predictor, self._predictor.condition(frame, view))
        if depth is None:
            raise PredictionError(f'model {self._predictor.name!r} has no coarse part')
        pixels = geometry.view_pixels(view, frame.camera, device=depth.device)
        carried, _ = geometry.resample_depth(depth, depth, pixels)
        carried = carried.float().cpu()
        std = torch.full_like(carried, torch.nan)
        return DepthPrediction(carried, std, frame.camera, frame.stamp_ns, frame.frame_id)


def has_coarse(predictor: Predictor) -> bool:
    """Whether the model has a part that says a depth without any diffusion."""
    config = getattr(predictor.method, 'config', None)
    return hasattr(predictor.method, 'regress') and getattr(config, 'regression_weight', 0) > 0


def _regress(predictor: Predictor, conditioning: Conditioning) -> Tensor | None:
    return predictor.method.regress(conditioning)  # type: ignore[attr-defined]


class FolderSource:
    """Depth maps of a folder, matched to frames by name.

    A frame `a/rgb/7.jpg` is predicted by a/rgb/7.npy, rgb/7.npy or 7.npy, the longest path that is
    there; the name may end in _depth, the suffix is one of depth_files.SUFFIXES. A path that
    several frames would share is none's. 7_std.npy beside 7.npy or 7_depth.npy is its standard
    deviation.

    Args:
        folder: with the files.
        names: of all frames that will be asked for.
        scale: metres a unit; None for 1, and for the millimetres of `metric-depth predict` in png.
        label: what to call it; None for the name of the folder.

    Raises:
        PredictionError: there is no such folder, or no depth map in it.
    """

    def __init__(
        self,
        folder: Path,
        names: Iterable[str],
        *,
        scale: float | None = None,
        label: str | None = None,
    ) -> None:
        if not folder.is_dir():
            raise PredictionError(f'{folder}: there is no such folder of predictions')
        found = sorted(f for f in folder.rglob('*') if f.suffix.lower() in SUFFIXES)
        if not found:
            raise PredictionError(
                f'{folder}: no depth map in it, expected files ending in {", ".join(SUFFIXES)}'
            )
        self.name = label or folder.name or str(folder)
        self._folder, self._scale, self._files = folder, scale, found
        self._by_path = {
            str(PurePosixPath(f.relative_to(folder).as_posix()).with_suffix('')): f
            for f in reversed(found)  # of two suffixes the first by name
        }
        self._shared = _shared_paths(names)

    @property
    def identity(self) -> str:
        stats = [(f, f.stat()) for f in self._files]
        listed = [(str(f), s.st_size, s.st_mtime_ns) for f, s in stats]
        return hashlib.sha256(repr((listed, self._scale)).encode()).hexdigest()

    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        path = self._find(name)
        depth = self._read(path)
        camera = frame.camera
        if tuple(depth.shape) != (camera.height, camera.width):
            raise PredictionError(
                f'{path} is {depth.shape[1]}x{depth.shape[0]} pixels, expected '
                f'{camera.width}x{camera.height} as the frame'
            )
        std_path = path.with_name(f'{path.stem.removesuffix("_depth")}_std.npy')
        std = torch.full_like(depth, torch.nan)
        if std_path != path and std_path.is_file():
            std = read_depth(std_path)
        return DepthPrediction(depth, std, camera, frame.stamp_ns, frame.frame_id)

    def _find(self, name: str) -> Path:
        shared = []
        for path in _paths(name):
            for ending in _ENDINGS:
                file = self._by_path.get(path + ending)
                if file is not None and path not in self._shared:
                    return file
                if file is not None:
                    shared.append(path)
        if shared:
            raise PredictionError(
                f'{self._folder}: {shared[0]} could be of several frames, expected it in the '
                'folders that the images are in'
            )
        raise PredictionError(f'{self._folder}: there is no prediction of it')

    def _read(self, path: Path) -> Tensor:
        scale = self._scale
        if scale is None:
            scale = _PNG_UNIT if path.suffix.lower() == '.png' else 1.0
        return read_depth(path, scale)


def _paths(name: str) -> list[str]:
    """The path of an image without suffix, then with ever fewer of its folders."""
    parts = PurePosixPath(name).with_suffix('').parts
    parts = tuple(part for part in parts if part not in ('..', '/'))
    return ['/'.join(parts[start:]) for start in range(len(parts))]


def _shared_paths(names: Iterable[str]) -> set[str]:
    """Paths that more than one of the frames could go by."""
    counts: dict[str, int] = {}
    for name in names:
        for path in _paths(name):
            counts[path] = counts.get(path, 0) + 1
    return {path for path, count in counts.items() if count > 1}


def _weights_digest(predictor: Predictor) -> str:
    digest = hashlib.sha256()
    for name, tensor in predictor.method.state_dict().items():  # type: ignore[attr-defined]
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()

"""What the tests of all importers do: read a folder as a dataset and evaluate what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.datasets import Manifest, Sample
from metric_depth_ros.evaluation.importers import IMPORTERS, Entry, Problem
from metric_depth_ros.evaluation.importers.writing import write_manifest


@dataclass(frozen=True)
class Imported:
    """Frames as an evaluation gets them, the entries they came of, and the problems as text."""

    samples: list[Sample]
    entries: list[Entry]
    problems: list[str]

    @property
    def depths(self) -> list[np.ndarray]:
        return [sample.depth.numpy() for sample in self.samples]


@pytest.fixture
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Imported]:
    def run(name: str, root: Path, **options: object) -> Imported:
        out = tmp_path_factory.mktemp('manifest') / 'manifest.jsonl'
        found = list(write_manifest(IMPORTERS[name].read(root, **options), out))
        return Imported(
            list(Manifest(out)) if out.is_file() else [],
            [item for item in found if isinstance(item, Entry)],
            [str(item) for item in found if isinstance(item, Problem)],
        )

    return run


@pytest.fixture
def picture() -> Callable[[Path, int, int], np.ndarray]:
    """Writes an image of (width, height); returns its (H, W, 3) RGB as read by OpenCV."""

    def write(path: Path, width: int, height: int) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(path.name)).integers(
            0, 256, (height, width, 3), np.uint8
        )
        cv2.imwrite(str(path), pixels)
        return cv2.imread(str(path))[..., ::-1]

    return write


@pytest.fixture
def world_points() -> Callable[[Sample], np.ndarray]:
    """(H, W, 3) points in the world of what a sample says: its depth, camera and pose."""

    def points(sample: Sample) -> np.ndarray:
        assert sample.pose is not None
        seen = geometry.unproject(sample.depth, sample.frame.camera).double()
        return (seen @ sample.pose[:3, :3].T + sample.pose[:3, 3]).numpy()

    return points


@pytest.fixture
def store() -> Callable[..., Path]:
    """Writes an image of one colour (RGB) and a (width, height), or a 16-bit map."""

    def write(
        path: Path, content: tuple[int, int, int] | np.ndarray, size: tuple[int, int] = (0, 0)
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            width, height = size
            content = np.full((height, width, 3), content[::-1], np.uint8)
        ok, data = cv2.imencode(path.suffix.lower(), content)
        assert ok
        path.write_bytes(data.tobytes())
        return path

    return write

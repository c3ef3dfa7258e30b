"""Predictions by their stamps, as many as a long recording has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import Camera, DepthPrediction


@dataclass(frozen=True)
class _Entry:
    """All of a prediction but its pixels, which begin at byte `offset` of the file."""

    offset: int
    camera: Camera
    frame_id: str


class PredictionSpool(Mapping[int, DepthPrediction]):
    """stamp_ns -> DepthPrediction, read when asked for from a file that ends with this object.

    A minute of 640x480 at 30 Hz is 4.4 GB of depth and std: too much to hold in memory.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._entries: dict[int, _Entry] = {}

    def add(self, prediction: DepthPrediction) -> None:
        """Keep a prediction; an earlier one of the same stamp is forgotten."""
        offset = self._file.seek(0, 2)
        for values in (prediction.depth, prediction.std):
            self._file.write(values.contiguous().numpy().data)
        entry = _Entry(offset, prediction.camera, prediction.frame_id)
        self._entries[prediction.stamp_ns] = entry

    def __getitem__(self, stamp_ns: int) -> DepthPrediction:
        entry = self._entries[stamp_ns]
        self._file.seek(entry.offset)
        depth, std = self._read(entry.camera), self._read(entry.camera)
        return DepthPrediction(depth, std, entry.camera, stamp_ns, entry.frame_id)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _read(self, camera: Camera) -> Tensor:
        data = bytearray(self._file.read(4 * camera.width * camera.height))
        return torch.frombuffer(data, dtype=torch.float32).view(camera.height, camera.width)

"""Scores of frames kept in a file while they come, so that a run that was killed goes on."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from ..types import Camera
from .boundaries import BoundaryScores
from .evaluation import EvaluatedFrame, Moment
from .frame_scores import FrameScores
from .metrics import Scores
from .quantity import QuantityEvidence

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar('_T')
_FORMAT = 3


class ScoreCache:
    """Frames of one model, set and settings; a line of JSON each, written as soon as it is known.

    Args:
        folder: where the files are; made if need be.
        settings: everything but the frame that the scores depend on. Other settings, other file.
    """

    def __init__(self, folder: Path, settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(repr((_FORMAT, settings)).encode()).hexdigest()
        self._path = folder / f'{digest[:24]}.jsonl'
        self._frames: dict[tuple[str, str], EvaluatedFrame] = {}
        if self._path.is_file():
            self._read()

    def get(self, name: str, mark: str) -> EvaluatedFrame | None:
        """The frame if it was scored before and is still what it was then."""
        return self._frames.get((name, _short(mark)))

    def put(self, frame: EvaluatedFrame, mark: str) -> None:
        """Keep a frame for the next run."""
        line = json.dumps({'mark': _short(mark), **_to_json(frame)})
        with self._path.open('a') as file:
            file.write(f'{line}\n')

    def _read(self) -> None:
        text = self._path.read_bytes()
        whole = text[: text.rfind(b'\n') + 1]
        if whole != text:  # killed while writing: what is added next begins a line of its own
            with self._path.open('r+b') as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            entry = json.loads(line)
            frame = _from_json(entry)
            self._frames[frame.name, entry['mark']] = frame


def _short(mark: str) -> str:
    return hashlib.sha256(mark.encode()).hexdigest()[:24]


def _to_json(frame: EvaluatedFrame) -> dict[str, Any]:
    scored, thin = frame.scored, frame.scored.thin.numpy()
    return {
        'name': frame.name,
        'seconds': frame.seconds,
        'scores': {name: asdict(scores) for name, scores in scored.scores.items()},
        'moment': _fields(frame.moment),
        'quantity': _fields(scored.quantity),
        'boundaries': _fields(scored.boundaries),
        'thin_camera': _fields(scored.thin_camera),
        'shape': thin.shape,
        'thin': base64.b64encode(zlib.compress(thin.tobytes(), 1)).decode(),
    }


def _from_json(entry: dict[str, Any]) -> EvaluatedFrame:
    data = bytearray(zlib.decompress(base64.b64decode(entry['thin'])))
    thin = torch.from_numpy(np.frombuffer(data, np.float32).reshape(entry['shape']))
    scores = {name: Scores(**values) for name, values in entry['scores'].items()}
    scored = FrameScores(
        scores,
        thin,
        _made(QuantityEvidence, entry['quantity']),
        _made(BoundaryScores, entry['boundaries']),
        _made(Camera, entry['thin_camera']),
    )
    return EvaluatedFrame(entry['name'], scored, entry['seconds'], _made(Moment, entry['moment']))


def _fields(value: DataclassInstance | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def _made(kind: type[_T], values: dict[str, Any] | None) -> _T | None:
    """What `_fields` was made of; JSON has no tuples."""
    if values is None:
        return None
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

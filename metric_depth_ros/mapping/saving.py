"""Files that are there whole or not at all: a full disk leaves what was there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .view import MappingError


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Fill a file beside `path` by `write`, then put it in its place.

    Raises:
        MappingError: the file could not be written; `path` is as it was, nothing is left beside.
    """
    unfinished = path.with_name(f'{path.name}.unfinished')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):  # what could not be made cannot be removed either
            unfinished.unlink()
        reason = error.strerror or str(error)
        raise MappingError(
            f'could not write {path}: {reason}; the map is still in memory, save it elsewhere'
        ) from error

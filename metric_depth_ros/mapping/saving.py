"""Files that are there whole or not at all: a full disk leaves what was there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .view import MappingError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Fill a file beside `path` by `write`, then put it in its place.

    After a loss of power it is the old file or the new one, on the disk.

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
        _sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C leaves nothing half-written either
        with suppress(OSError):  # what could not be made cannot be removed either
            unfinished.unlink()
        if not isinstance(error, OSError):
            raise
        raise MappingError(f'could not write {path}: {error.strerror or error}') from error


def write_content(path: Path, content: bytes) -> None:
    """Put a file in its place whose content is there already; see write_whole."""
    write_whole(path, lambda file: file.write(content))


def _sync_folder(folder: Path) -> None:
    """The new name, too, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

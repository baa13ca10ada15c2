"""Files that exist whole or not at all, JSON that knows infinity, and a lock that dies with its owner."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mcmm.errors import InputError, StoreError

__all__ = [
    "Lock",
    "digest",
    "from_json",
    "lock_owner",
    "open_whole",
    "settle",
    "temporary",
    "to_json",
    "write_whole",
]

_PREFIX, _SUFFIX = ".", ".tmp"
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old one or the new one whole.

    As `open_whole`, for what is in memory anyway.
    """
    with open_whole(path, durable=durable) as file:
        file.write(data)


@contextmanager
def open_whole(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file so that a reader, or a crash at any moment, finds the old one or the new one whole.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    durable : bool
        Wait until the disk has it before it gets its name, so that not even a loss of power leaves a part of
        it. That the name lasts too is `settle`'s part.

    Yields
    ------
    file
        Open for writing; it gets its name once all is written.

    Raises
    ------
    InputError
        If it cannot be written (no such directory, no permission, disk full). Nothing is left behind.
    """
    # A link stays a link: what it points to is replaced.
    path = path.resolve()
    aside = path.with_name(f"{_PREFIX}{path.name}{_SUFFIX}")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be written: {'Is a directory' if path.is_dir() else 'is a device'}")
    try:
        with aside.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        _discard(aside)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    except BaseException:
        _discard(aside)
        raise


def temporary(path: Path) -> bool:
    """Tell whether a file is what `open_whole` leaves when its process is killed."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def _discard(path: Path) -> None:
    # The first error is the one to report; what is left over is cleared away by the next sweep.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def settle(path: Path) -> None:
    """Make the names of a directory's files last (Windows has no such call and does without).

    Raises
    ------
    InputError
        If the disk does not take them.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        # A file system that syncs no directories, as some of a network's, has its own way.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def digest(data: bytes) -> str:
    """Return the first 16 hexadecimal digits of the data's SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def to_json(value: Any) -> bytes:
    """Return a document as indented JSON with sorted keys; infinity and NaN as inf, -inf, nan."""
    return (json.dumps(_spelled(value), indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _spelled(value: Any) -> Any:
    match value:
        case dict():
            return {name: _spelled(item) for name, item in value.items()}
        case list() | tuple():
            return [_spelled(item) for item in value]
        case float() if not math.isfinite(value):
            return repr(value)
        case _:
            return value


def from_json(value: Any) -> Any:
    """Turn the strings inf, -inf and nan of a parsed document back into numbers, at any depth."""
    match value:
        case dict():
            return {name: from_json(item) for name, item in value.items()}
        case list():
            return [from_json(item) for item in value]
        case str():
            return _NUMBERS.get(value, value)
        case _:
            return value


class Lock:
    """A file that one process at a time holds, until it ends, however it ends.

    The file stays where it is: removing it would let two later processes hold two files of one name.

    Parameters
    ----------
    path : Path
        The lock's file; it names the process that holds it.
    held_by_another : str
        Message of the StoreError if another process (or another sweep of this one) has it; ``{owner}`` is
        replaced by that process' number.
    """

    def __init__(self, path: Path, held_by_another: str) -> None:
        self._path = path
        self._message = held_by_another
        self._handle = -1

    def __enter__(self) -> Self:
        """Take the lock."""
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror or error}") from None
        try:
            _take(self._handle)
        except OSError as error:
            if error.errno not in _HELD:
                os.close(self._handle)
                raise InputError(f"{self._path}: cannot be locked: {error.strerror or error}") from None
            owner = os.read(self._handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            raise StoreError(self._message.format(owner=owner)) from None
        try:
            os.truncate(self._handle, 0)
            os.write(self._handle, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(self._handle)
            raise InputError(f"{self._path}: cannot be written: {error.strerror or error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""
        with suppress(OSError):  # a number that is left behind locks nobody out
            os.truncate(self._handle, 0)
        os.close(self._handle)


def lock_owner(path: Path) -> str:
    """Return the number of the process that holds a `Lock`, or an empty text if none does.

    The lock itself is tried only where a number stands in it, which its owner removes: a sweep that begins
    just now is not to find it taken by one who only looked.
    """
    try:
        owner = path.read_text(errors="replace").strip()
        if not owner:
            return ""
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return ""
    try:
        _take(handle)
    except OSError:
        return owner
    finally:
        os.close(handle)
    return ""


if sys.platform == "win32":
    import msvcrt

    # Windows refuses reads of the locked bytes too: lock one far behind the owner's number.
    def _take(handle: int) -> None:
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

"""The files that COPY of a session may name, and how they are opened.

An embedded database is its program, and has the program's rights. A server reads and writes files for its clients in
one folder alone, and only if it was given one (``copy_folder``, ``weft serve --copy-folder``): whoever reaches its port
could otherwise read whatever it can.

A file that is written appears under its name when it is complete. What is called .gz, .bz2 or .zst is compressed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ...base.errors import Denied, Invalid, NotFound, Unavailable
from .options import COMPRESSIONS, CopyFormat

_COUNTER: Final = itertools.count(1)
"""Two may write the same file at once: the last to end is what stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """``folder`` is the only one whose files may be named; None: no file at all, unless ``anywhere``."""

    folder: Path | None = None
    anywhere: bool = False

    def resolve(self, name: str) -> Path:
        """The path that a statement means. Raises Denied (42501)."""
        if self.anywhere:
            return Path(name).expanduser().absolute()
        hint = "Use \\copy in `weft sql`, which reads and writes the client's files."
        if self.folder is None:
            raise Denied(
                "COPY with a file on the server is not allowed: it was started without --copy-folder",
                hint=hint,
                sqlstate="42501",
            )
        folder = self.folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise Denied(f'"{name}" is outside of the folder for COPY, {folder}', hint=hint, sqlstate="42501")
        return path


ANYWHERE: Final = Files(anywhere=True)


def files_in(folder: str | Path | None) -> Files:
    """The files of one folder, or none."""
    return Files(folder=None if folder is None else Path(folder))


@contextmanager
def opened(path: Path, format: CopyFormat) -> Generator[Any]:
    """A file to read from, uncompressed. Raises NotFound, Invalid, Unavailable."""
    if not path.exists():
        raise NotFound(f"there is no file {path}", hint="Check the path.", sqlstate="58P01")
    if path.is_dir():
        raise Invalid(f"{path} is a folder", hint="Name a file.", sqlstate="42809")
    try:
        if not format.is_columnar:
            with pa.input_stream(str(path), compression=COMPRESSIONS.get(path.suffix.lower())) as file:
                yield file
        else:
            with pa.memory_map(str(path)) as file:
                yield file
    except OSError as error:
        if error.errno is None and path.suffix.lower() in COMPRESSIONS:  # the reader's, not the system's
            hint = "Its name says so; compress it again, or rename it."
            message = f"{path} is no complete {path.suffix} file: {error}"
            raise Invalid(message, hint=hint, sqlstate="22P04") from None
        raise Unavailable(f"{path} cannot be read: {error.strerror or error}", sqlstate="58030") from None


def size_of(path: Path) -> int | None:
    """How many bytes reading it will give; None where nobody knows."""
    return path.stat().st_size if path.is_file() and path.suffix.lower() not in COMPRESSIONS else None


@contextmanager
def created(path: Path, format: CopyFormat) -> Generator[Any]:
    """A file to write to, which appears when the block ends well. Raises Invalid, Unavailable."""
    if not path.parent.is_dir():
        raise Invalid(f"there is no folder {path.parent}", hint="Make it first.", sqlstate="58P01")
    if path.is_dir():
        raise Invalid(f"{path} is a folder", hint="Name a file.", sqlstate="42809")
    compression = COMPRESSIONS.get(path.suffix.lower()) if not format.is_columnar else None
    with complete_or_absent(path) as unfinished, pa.output_stream(str(unfinished), compression=compression) as file:
        yield file


@contextmanager
def complete_or_absent(path: Path) -> Generator[Path]:
    """A path to write to, which becomes ``path`` when the block ends well, and is removed when it does not."""
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing to be renamed
        yield path
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{next(_COUNTER)}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror or error}", sqlstate="58030") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)

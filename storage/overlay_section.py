"""The bytes of a persisted overlay: which rows of a segment had ended at a checkpoint, and when.

    "WeOv" | format u4 | rows u8 | end of all other rows i8 | row numbers u4[rows], padded to 8 | end versions i8[rows]

Little-endian. The checksum (xxh3_64 over all bytes) stands in the manifest's description of the segment.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import xxhash

from ..base.errors import Corrupt, Unavailable

FORMAT: Final = 1
_MAGIC: Final = b"WeOv"
_HEADER: Final = struct.Struct("<4sIQq")


def encode_overlay(rows: np.ndarray, ends: np.ndarray, *, rest_end: int) -> bytes:
    """``rows`` int64[n] ended at ``ends`` int64[n]; all others at ``rest_end``."""
    numbers = rows.astype("<u4").tobytes()
    header = _HEADER.pack(_MAGIC, FORMAT, len(rows), rest_end)
    return header + numbers + bytes(-len(numbers) % 8) + ends.astype("<i8").tobytes()


def decode_overlay(data: np.ndarray, *, checksum: int, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The rows, their ends, and the end of all others. Raises Corrupt."""
    view = data.data
    if xxhash.xxh3_64_intdigest(view) != checksum or len(view) < _HEADER.size:
        raise Corrupt(f"{name}: the overlay is damaged", hint="Restore the database from a backup.")
    magic, format, count, rest_end = _HEADER.unpack_from(view)
    numbers_bytes = 4 * count + -4 * count % 8
    if magic != _MAGIC or len(view) != _HEADER.size + numbers_bytes + 8 * count:
        raise Corrupt(f"{name}: this is no overlay", hint="Restore the database from a backup.")
    if format > FORMAT:
        raise Unavailable(
            f"{name} has overlay format {format}, and this program reads formats up to {FORMAT}",
            hint="Upgrade WeftDB: a newer version wrote this file.",
        )
    rows = np.frombuffer(view, "<u4", count, _HEADER.size).astype(np.int64)
    ends = np.frombuffer(view, "<i8", count, _HEADER.size + numbers_bytes).astype(np.int64)
    return rows, ends, rest_end

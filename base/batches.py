"""Batches whose bytes depend on their rows alone.

A stream of rows may be cut into batches anywhere, and Arrow leaves room in how a batch stands in memory: validity where
nothing is NULL, bytes under a NULL, padding, offsets into shared buffers. ``exact`` cuts a stream anew after every
``EXPORT_ROWS`` rows, or before the row with which its text and bytes would exceed ``EXPORT_BYTES``; and writes each
column in the one form that has nothing else in it. So two exports of the same rows are the same file.

Only for types of columns of tables: no dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import Invalid
from .limits import EXPORT_BYTES, EXPORT_ROWS


def exact(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows in the same order, in batches that depend on the rows alone."""
    return pa.RecordBatchReader.from_batches(reader.schema, _written(_cut(reader), reader.schema))


def check_exported(columns: Sequence[str] | None) -> None:
    """Raise Invalid where no column is asked for: a batch of none does not say how many rows it has."""
    if columns is not None and not columns:
        raise Invalid("an export has a column at least", hint="Leave columns out for all.", sqlstate="22023")


def _written(groups: Iterable[list[pa.RecordBatch]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for group in groups:
        columns = [
            plain(pa.concat_arrays([batch.column(place) for batch in group])) for place in range(len(schema.names))
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _cut(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Pieces that together are one batch each."""
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        sizes = _sizes(batch)
        start = 0
        while start < batch.num_rows:
            stop = min(batch.num_rows, start + EXPORT_ROWS - rows)
            if sizes is not None:
                fitting = int(np.searchsorted(sizes, sizes[start] + EXPORT_BYTES - size, side="right")) - 1
                stop = min(stop, max(fitting, start if group else start + 1))
                size += int(sizes[stop] - sizes[start])
            if stop > start:
                group.append(batch.slice(start, stop - start))
            rows += stop - start
            start = stop
            if start < batch.num_rows or rows == EXPORT_ROWS:
                yield group
                group, rows, size = [], 0, 0
    if group:
        yield group


def _sizes(batch: pa.RecordBatch) -> np.ndarray | None:
    """Bytes of text and the like in the rows before each (int64[n + 1]); None where there are no such columns."""
    sizes: np.ndarray | None = None
    for column in batch.columns:
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        lengths: Any = None
        if _is_variable(storage.type):
            lengths = pc.fill_null(pc.binary_length(storage), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        elif pa.types.is_list(storage.type):
            lengths = bytes_of_lists(storage)
        if lengths is not None:
            sizes = lengths if sizes is None else sizes + lengths
    return None if sizes is None else np.concatenate(([0], np.cumsum(sizes)))


def bytes_of_lists(array: pa.Array) -> np.ndarray:
    """About how many bytes the items of each list take (int64[n])."""
    offsets, items = array.offsets.to_numpy(), array.values
    items = items.storage if isinstance(items, pa.ExtensionArray) else items
    if not _is_variable(items.type):
        return np.diff(offsets).astype(np.int64) * max(items.type.bit_width // 8, 1)
    lengths: Any = pc.fill_null(pc.binary_length(items), 0)
    ends = np.concatenate(([0], np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)))
    return ends[offsets[1:]] - ends[offsets[:-1]] + np.diff(offsets)


def plain(array: pa.Array) -> pa.Array:
    """The same values in a form that depends on them alone."""
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(array.type, plain(array.storage))
    count, type = len(array), array.type
    valid: np.ndarray | None = None
    buffers: list[pa.Buffer | None] = [None]
    if array.null_count:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False))
        buffers = [pa.py_buffer(np.packbits(valid, bitorder="little"))]
    if pa.types.is_boolean(type):
        bits = array.fill_null(False).to_numpy(zero_copy_only=False)
        buffers.append(pa.py_buffer(np.packbits(bits, bitorder="little")))
    elif _is_variable(type):
        array = array if valid is None else array.fill_null("" if pa.types.is_string(type) else b"")
        _, offsets_buffer, data = array.buffers()
        offsets = np.zeros(1, np.int32)
        if count:
            offsets = np.frombuffer(offsets_buffer, np.int32, count + 1, 4 * array.offset)
        first, last = int(offsets[0]), int(offsets[-1])
        buffers.append(pa.py_buffer(offsets - first))
        buffers.append(pa.py_buffer(b"") if data is None else data.slice(first, last - first))
    elif pa.types.is_list(type):
        lengths: Any = pc.fill_null(pc.list_value_length(array), 0)
        offsets = np.concatenate(([0], np.cumsum(lengths.to_numpy(zero_copy_only=False)))).astype(np.int32)
        buffers.append(pa.py_buffer(offsets))
        items = plain(array.flatten())  # without what lies under NULLs
        return pa.Array.from_buffers(type, count, buffers, array.null_count, children=[items])
    else:
        width = type.bit_width // 8
        data = np.zeros(0, np.uint8)
        if count:
            data = np.frombuffer(array.buffers()[1], np.uint8, count * width, array.offset * width)
        if valid is not None:
            data = np.where(valid[:, None], data.reshape(count, width), np.uint8(0))
        buffers.append(pa.py_buffer(np.ascontiguousarray(data)))
    return pa.Array.from_buffers(type, count, buffers, array.null_count if valid is None else int(count - valid.sum()))


def _is_variable(type: pa.DataType) -> bool:
    return pa.types.is_string(type) or pa.types.is_binary(type)

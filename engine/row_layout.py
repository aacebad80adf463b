"""How a kernel lays out one row (kernels/rows.py), and functions that make a dict of what it laid out.

fields   a word per column, two for 16 bytes: the value; where it varies, where its bytes end
states   a byte per column: whether there is a value
bytes    of the values that vary, one behind another
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..base.types import Kind
from ..storage.column_values import DTYPES, PAIRS
from .column_store import bytes_value, stored_value

if TYPE_CHECKING:
    from .schema import Column

_VARIABLE_BYTES: Final = 32
"""Room for a value of variable width, to begin with."""


class RowLayout:
    """Of some columns. ``row`` makes a dict of a row that has all values, ``row_in_part`` of any.

    Both raise OverflowError for years that Python cannot say. ``columns`` has identifier and bytes of a value of each,
    0 where they vary; ``bytes_count`` are enough for most rows.
    """

    __slots__ = ("bytes_count", "columns", "row", "row_in_part")

    def __init__(self, columns: tuple[Column, ...]) -> None:
        sizes = [_size(column) for column in columns]
        self.columns = [field for column, size in zip(columns, sizes, strict=True) for field in (column.id, size)]
        first_state = sum([16 if size == 16 else 8 for size in sizes])
        first_byte = first_state + (len(columns) + 7) // 8 * 8
        self.bytes_count = first_byte + _VARIABLE_BYTES * sizes.count(0)
        self.row = _maker(columns, first_byte)
        self.row_in_part = _maker(columns, first_byte, first_state=first_state)


def _size(column: Column) -> int:
    if column.type.is_variable:
        return 0
    return 16 if column.type.kind in PAIRS else DTYPES[column.type.kind].itemsize


def _maker(
    columns: tuple[Column, ...], first_byte: int, *, first_state: int | None = None
) -> Callable[[bytearray], dict[str, Any]]:
    """A function, made as dataclasses make theirs, that takes a row out of what the kernel laid out.

    For columns a BIGINT, b TIMESTAMP and c TEXT, and where states are looked at:

        def row(out):                                            def row(out):
            v0, v1, v2, = unpack(out)                                v0, v1, v2, = unpack(out)
                                                                     s0, s1, s2, = out[24:27]
            return {                                                 return {
                'a': v0,                                                 'a': m0[s0] if s0 else v0,
                'b': convert1(v1),                                       ...
                'c': out[32:v2].decode(),
    """
    known: dict[str, Any] = {}
    formats, items, start = "<", "", str(first_byte)
    for place, column in enumerate(columns):
        value = f"v{place}"
        formats += "16s" if column.type.kind in PAIRS else _FORMATS.get(column.type.kind, "q")
        if column.type.is_variable:
            value, start = f"out[{start}:{value}]", value
            if column.type.kind is Kind.ARRAY:
                known[f"items{place}"] = bytes_value(column.type)
                value = f"items{place}(bytes({value}))"
            else:
                value = f"bytes({value})" if column.type.kind is Kind.BYTEA else f"{value}.decode()"
        else:
            convert = stored_value(column.type)
            if convert is not None:
                known[f"convert{place}"] = convert
                value = f"convert{place}({value})"
        if first_state is not None:
            known[f"m{place}"] = (None, None, None if column.missing is None else column.missing.value)
            value = f"m{place}[s{place}] if s{place} else {value}"
        items += f"{column.name!r}: {value}, "
    known["unpack"] = struct.Struct(formats).unpack_from
    values, states = ("".join([f"{letter}{place}, " for place in range(len(columns))]) for letter in "vs")
    lines = ["def row(out):", f"  {values} = unpack(out)"]
    if first_state is not None:
        lines.append(f"  {states} = out[{first_state}:{first_state + len(columns)}]")
    exec("\n".join([*lines, f"  return {{{items}}}"]), known)
    return known["row"]


_FORMATS: Final = {Kind.REAL: "f4x", Kind.DOUBLE: "d"}

"""What is asked of JSONB documents again and again, over Arrow arrays: parts, keys, containment, kinds.

The documents' texts are not parsed: kernels find the parts in them (engine/kernels/documents.py). Steps, paths, keys
and the right side of ``@>`` are constants here; where they are not, the naive functions of ``json_values`` do it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....base.document_texts import canonical_texts
from ....base.documents import canonical, read, write
from ...kernels import documents as kernels
from .vector import NotVectorized

Datum = Any  # pa.Array | pa.Scalar

_TYPES: Final = {b"{": "object", b"[": "array", b'"': "string", b"t": "boolean", b"f": "boolean", b"n": "null"}
_TYPE_NAMES: Final = [*dict.fromkeys(_TYPES.values()), "number"]


class _Parts:
    """A span in each row's document. ``missing``: rows that are NULL (bool[n]), None: none is."""

    def __init__(self, documents: Datum) -> None:
        if isinstance(documents, pa.Scalar) or not pa.types.is_string(documents.type):
            raise NotVectorized
        self._documents = documents
        self.count = count = len(documents)
        self._starts, self._ends = np.empty(count, np.int64), np.empty(count, np.int64)
        _, offsets, data = documents.buffers()
        self._data = 0 if data is None else data.address
        first = 0 if offsets is None else offsets.address + 4 * documents.offset
        kernels.set_spans(first, count if first else 0, self._starts.ctypes.data, self._ends.ctypes.data)
        self.missing = documents.is_null().to_numpy(zero_copy_only=False) if documents.null_count else None
        if self.missing is not None:
            self._starts[self.missing] = -1

    @property
    def _spans(self) -> tuple[int, int, int, int]:
        return self._data, self._starts.ctypes.data, self._ends.ctypes.data, self.count

    def step(self, key: str | None, index: int | None, *, scalars: bool = False) -> _Parts:
        """The same rows, each at its part under the key of an object, or the index of an array."""
        text = b"" if key is None else _written(key)
        ways = kernels.BY_KEY * (key is not None) | kernels.BY_INDEX * (index is not None) | kernels.SCALARS * scalars
        kernels.step(*self._spans, _address(text), len(text), index or 0, ways)
        return self

    def copy(self) -> _Parts:
        other = object.__new__(_Parts)
        other.__dict__.update(self.__dict__, _starts=self._starts.copy(), _ends=self._ends.copy())
        return other

    @property
    def there(self) -> np.ndarray:
        """Where there is a part (bool[n])."""
        return self._starts >= 0

    def first_bytes(self) -> np.ndarray:
        out = np.empty(self.count, np.uint8)
        kernels.first_bytes(*self._spans, out.ctypes.data)
        return out

    def lengths(self) -> np.ndarray:
        out = np.empty(self.count, np.int32)
        kernels.lengths(*self._spans, out.ctypes.data)
        return out

    def keep_same(self, text: bytes, mask: np.ndarray, *, number: bool = False, items: bool = False) -> None:
        kernels.keep_same(*self._spans, _address(text), len(text), number, items, mask.ctypes.data)

    def texts(self, *, plain: bool) -> pa.Array:
        """The parts' texts, NULL where there is none; ``plain``: of strings what they say."""
        offsets, valid = np.empty(self.count + 1, np.int32), np.empty(self.count, np.uint8)
        total = kernels.set_sizes(*self._spans, plain, offsets.ctypes.data, valid.ctypes.data)
        if total < 0:
            raise NotVectorized
        data = np.empty(total, np.uint8)
        starts = self._starts.ctypes.data
        kernels.copy(self._data, starts, self.count, plain, offsets.ctypes.data, data.ctypes.data)
        bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        buffers: Sequence[pa.Buffer | None] = [bits, pa.py_buffer(offsets), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.string(), self.count, list(buffers))

    def answers(self, values: np.ndarray) -> pa.Array:
        """``values``, NULL where the document is."""
        return pa.array(values, mask=self.missing)


def _address(text: bytes) -> int:
    return np.frombuffer(text, np.uint8).ctypes.data if text else 0


def _written(text: str) -> bytes:
    return json.encoder.encode_basestring(text).encode("utf-8", "surrogatepass")


def _constant(value: Datum) -> Any:
    if not isinstance(value, pa.Scalar) or not value.is_valid:
        raise NotVectorized
    return value.as_py()


def get(*, plain: bool) -> Any:
    """``->`` and ``->>`` (``plain``)."""

    def compute(documents: Datum, step: Datum) -> pa.Array:
        parts, step = _Parts(documents), _constant(step)
        found = parts.step(step, None) if isinstance(step, str) else parts.step(None, step, scalars=True)
        return found.texts(plain=plain)

    return compute


def path(
    index_of: Callable[[str], int | None], *, plain: bool, steps_of: Callable[[Any], list[Any]] | None = None
) -> Any:
    """``#>`` and ``#>>`` (``plain``): ``steps_of`` takes a path apart; None: each argument is a step.

    ``index_of`` reads a step as an index.
    """

    def compute(documents: Datum, *given: Datum) -> pa.Array:
        values = [_constant(value) for value in given]
        parts = _Parts(documents)
        for step in values if steps_of is None else steps_of(values[0]):
            if step is None:
                raise NotVectorized
            parts.step(step, index_of(step))
        return parts.texts(plain=plain)

    return compute


def of_texts(texts: Datum) -> pa.Array:
    """JSON texts as JSONB."""
    from .json_values import checked

    if isinstance(texts, pa.Scalar):
        raise NotVectorized
    return canonical_texts(texts, lambda row: checked(texts[row].as_py()))


def to_text(values: Datum) -> pa.Array:
    """The JSON of values that are none themselves; of texts that have nothing to escape, whole numbers, truth."""
    if isinstance(values, pa.Scalar):
        raise NotVectorized
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        return values.cast(pa.string())
    if not pa.types.is_string(values.type) or pc.any(pc.match_substring_regex(values, _ESCAPED)).as_py():
        raise NotVectorized
    return pc.binary_join_element_wise('"', values, '"', "")


_ESCAPED: Final = r'["\\\x00-\x1f]'


def build_object(kind: str) -> Any:
    """``json_build_object`` and its like: keys, which are constants, and the JSON of values in turns."""

    def compute(*items: Datum) -> pa.Array:
        if len(items) % 2:
            raise NotVectorized  # the naive form has the error
        pieces: list[Datum] = []
        for key, value in zip(items[::2], items[1::2], strict=True):
            pieces += [write(_constant(key)) + " : ", pc.fill_null(value, "null"), ", "]
        joined = pc.binary_join_element_wise("{", *pieces[:-1], "}", "")
        return joined if kind == "json" else canonical_texts(joined, lambda row: canonical(joined[row].as_py()))

    return compute


def joined(first: Datum, second: Datum) -> pa.Array:
    """``||`` of objects."""
    inner: list[Datum] = []
    for documents in (first, second):
        if not _all(pc.starts_with(documents, "{")):
            raise NotVectorized
        inner.append(pc.utf8_slice_codeunits(documents, 1, -1))
    empty = pc.or_(pc.equal(inner[0], ""), pc.equal(inner[1], ""))
    texts = pc.binary_join_element_wise("{", inner[0], pc.if_else(empty, "", ", "), inner[1], "}", "")
    return of_texts(texts)


def _all(truth: Datum) -> bool:
    return (truth if isinstance(truth, pa.Scalar) else pc.all(truth)).as_py() is not False


def typeof(documents: Datum) -> pa.Array:
    parts = _Parts(documents)
    names = np.full(256, len(_TYPE_NAMES) - 1, np.int8)
    for letter, name in _TYPES.items():
        names[letter[0]] = _TYPE_NAMES.index(name)
    numbers = parts.answers(names[parts.first_bytes()])
    return pa.DictionaryArray.from_arrays(numbers, pa.array(_TYPE_NAMES)).dictionary_decode()


def array_length(documents: Datum) -> pa.Array:
    parts = _Parts(documents)
    if not ((parts.first_bytes() == kernels.OPEN_LIST) | ~parts.there).all():
        raise NotVectorized  # the naive form has the error
    return parts.answers(parts.lengths())


def has_key(documents: Datum, key: Datum) -> pa.Array:
    """``?``: a key of an object, a string of an array, or the string itself."""
    parts, key = _Parts(documents), _constant(key)
    first = parts.first_bytes()
    itself, among = np.ones(parts.count, np.bool_), np.ones(parts.count, np.bool_)
    parts.keep_same(_written(key), itself)
    parts.keep_same(_written(key), among, items=True)
    member = parts.step(key, None).there & (first == kernels.OPEN_OBJECT)
    return parts.answers(itself | among | member)


def contains(documents: Datum, part: Datum) -> pa.Array:
    """``@>``."""
    parts, wanted = _Parts(documents), read(_constant(part))
    if isinstance(wanted, list | dict):
        return parts.answers(_contains(parts, wanted))
    among = _contains(parts, [wanted])
    return parts.answers(_contains(parts, wanted) | among)


def _contains(parts: _Parts, wanted: Any) -> np.ndarray:
    mask = np.ones(parts.count, np.bool_)
    if isinstance(wanted, dict):
        mask &= parts.first_bytes() == kernels.OPEN_OBJECT
        for key, value in wanted.items():
            mask &= _contains(parts.copy().step(key, None), value)
        return mask
    items = isinstance(wanted, list)
    mask &= (parts.first_bytes() == kernels.OPEN_LIST) if items else parts.there
    for scalar in wanted if items else [wanted]:
        if isinstance(scalar, list | dict):
            raise NotVectorized
        number = isinstance(scalar, int | Decimal) and not isinstance(scalar, bool)
        text = write(scalar)
        if number and "." in text:
            text = text.rstrip("0").rstrip(".")
        parts.keep_same(text.encode("utf-8", "surrogatepass"), mask, number=number, items=items)
    return mask

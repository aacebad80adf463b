"""What a segment's index is made of, gathered while its rows' keys go by: sample keys and filters.

    samples      the sort key of each block's first row
    pk filter    the hash of each primary key; a table without primary key has none
    key filter   the hash of each key (the key columns); none where the key is the primary key, or there is none

Filters are made for as many keys as there are rows, and shrunk to what stands in them: rows of one key come one after
the other, and so cost nothing but the comparison with the hash before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..storage.column_values import Values
from .kernels import filters
from .key_encoding import KeyEncoder, Keys
from .layout import Layout


class KeyHashes:
    """Hashes of the key columns of rows, as ``Layout`` computes them for the way to the shard."""

    def __init__(self, layout: Layout) -> None:
        table = layout.table
        self.columns = tuple(table.by_id[id] for id in table.key)
        self.wanted = bool(table.key) and table.key != table.primary_key
        self._encoder = KeyEncoder(self.columns)
        self._sort_encoder = layout.sort_encoder
        is_prefix = layout.sort_columns[: len(self.columns)] == self.columns
        self._from_keys = is_prefix and layout.sort_encoder.fixed

    def of(self, keys: Keys, columns: Sequence[Callable[[], Values]]) -> np.ndarray:
        """uint64[n] of rows with these encoded sort keys; ``columns`` give the values of the key columns if needed."""
        if self._from_keys:
            return self._sort_encoder.hash_prefix(keys.words, length=self._encoder.length, count=len(keys))
        return self._encoder.encode([values() for values in columns], count=len(keys)).hashes


class KeyTrail:
    """The index of a segment of at most ``rows_count`` rows."""

    def __init__(self, layout: Layout, *, rows_count: int, block_rows: int) -> None:
        self._block_rows = block_rows
        self.hashes = KeyHashes(layout)
        self._pk_filter = filters.empty_filter(rows_count) if layout.table.primary_key else None
        self._key_filter = filters.empty_filter(rows_count) if self.hashes.wanted else None
        self._samples: list[Keys] = []

    def add(self, keys: Keys, columns: Sequence[Callable[[], Values]]) -> None:
        """Put rows into the filters, in any order; see ``KeyHashes.of``."""
        if self._pk_filter is not None:
            filters.add(self._pk_filter, keys.hashes)
        if self._key_filter is not None:
            filters.add(self._key_filter, self.hashes.of(keys, columns))

    def sample(self, keys: Keys) -> None:
        """Keep the sort keys of the first rows of the next blocks."""
        self._samples.append(keys)

    def sample_every_block(self, keys: Keys, *, first: int) -> None:
        """Sample the keys of rows ``first`` and after: of those with which a block begins."""
        rows = np.arange(-first % self._block_rows, len(keys), self._block_rows)
        if len(rows):
            self.sample(keys.take(rows))

    def samples(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(words, word offsets uint64[blocks + 1] or None for keys of one width), all samples one after another."""
        words = [np.zeros(0, np.uint64), *(_words_of(keys) for keys in self._samples)]
        if not self._samples or not len(self._samples[0].offsets):
            return np.concatenate(words), None
        lengths = np.concatenate([np.diff(keys.offsets) for keys in self._samples])
        return np.concatenate(words), np.concatenate(([0], np.cumsum(lengths))).astype(np.uint64)

    def pk_filter(self) -> np.ndarray | None:
        return None if self._pk_filter is None else filters.shrunk(self._pk_filter)

    def key_filter(self) -> np.ndarray | None:
        return None if self._key_filter is None else filters.shrunk(self._key_filter)


def _words_of(keys: Keys) -> np.ndarray:
    return keys.words[keys.offsets[0] : keys.offsets[-1]] if len(keys.offsets) else keys.words

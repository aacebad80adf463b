"""Numba kernels: free functions on arrays, inputs first, outputs last; each file is self-contained.

``encoding`` (primary keys to words, and their hash) · ``routing`` (rows to cells) · ``index`` (primary key to newest
row, version chains) · ``warm`` (compile or load all of them before the first use). Every kernel has a naive twin in the
tests. No fastmath: the result of ``apply`` depends on the log alone.
"""

from ...base.kernel_caches import take_turns

take_turns()

"""Numba kernels over stored columns: free functions on arrays, each with a naive twin in the tests."""

from ...base.kernel_caches import take_turns

take_turns()

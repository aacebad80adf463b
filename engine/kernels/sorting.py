"""Kernels that sort encoded keys: which row comes first, where bytes compare as ``key_encoding`` says.

Rows are ``items``, uint32 names that the sort only carries along; ties keep the order in which they came, so a caller
who hands rows in newest first gets them newest first inside each key.

    fixed width     the bits in which the keys differ are drawn together (a few uint64 a row, one for most tables), and
                    sorted by radix: by as many upper bits as tell most rows apart, two passes over 12 bytes a row, then
                    the few that are still equal by the others; ``expand`` makes the keys again, in their new order
    variable width  word by word from the first: a group of rows equal so far is sorted by its next word, and split;
                    groups of a few rows are sorted by comparing

``compress`` reads a key as big-endian words: byte ``k`` of a key is bits ``8 * (k % 8)`` of word ``k // 8``, so words
are byte-swapped before anything compares them. Constants are spelled ``np.uint64(...)``: see kernels/encoding.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...storage.kernels.memory import load32, load64
from .encoding import swap_bytes


@njit(nogil=True, cache=True)
def observe(words: Any, width: Any, count: Any, ones: Any, zeros: Any) -> None:
    """Note which bits of ``count`` keys (flat words) are 1, and which 0, anywhere: uint64[width] each, as words lie."""
    for word in range(width):
        one, zero = ones[word], zeros[word]
        for row in range(count):
            value = words[row * width + word]
            one |= value
            zero |= ~value
        ones[word], zeros[word] = one, zero


@njit(nogil=True, cache=True)
def runs_of(varying: Any) -> Any:
    """Runs of varying bits, from the last bit of the key up: int64[runs, 5] of (word, shift, bits, target, place).

    ``varying`` (uint64[width]) has the bytes of a key in order, as words lie. Bits ``shift`` to ``shift + bits`` of the
    swapped word go to bit ``place`` of target word ``target``; target 0 is the least significant. Also returns how many
    bits there are in all. Up to two constant bits between varying ones are not worth a run of their own.
    """
    runs = np.empty((varying.size * 18 + 1, 5), np.int64)
    count = 0
    total = 0
    for word in range(varying.size - 1, -1, -1):
        mask = swap_bytes(varying[word])
        shift = 0
        while shift < 64:
            if (mask >> np.uint64(shift)) & np.uint64(1) == np.uint64(0):
                shift += 1
                continue
            stop = last = shift + 1
            while stop < 64 and stop - last < 3:
                if (mask >> np.uint64(stop)) & np.uint64(1) != np.uint64(0):
                    last = stop + 1
                stop += 1
            while shift < last:
                place = total & 63
                bits = min(last - shift, 64 - place)
                runs[count, 0], runs[count, 1], runs[count, 2] = word, shift, bits
                runs[count, 3], runs[count, 4] = total >> 6, place
                count += 1
                total += bits
                shift += bits
    return runs[:count], total


@njit(nogil=True, cache=True)
def compress(words: Any, width: Any, rows: Any, runs: Any, target: Any, start: Any, packed: Any) -> None:
    """Draw the varying bits of keys ``rows`` (uint32) of ``words`` together: target word into ``packed[start:]``."""
    for index in range(rows.size):
        packed[start + index] = np.uint64(0)
    for run in range(runs.shape[0]):
        if runs[run, 3] != target:
            continue
        word = runs[run, 0]
        right = np.uint64(runs[run, 1])
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - runs[run, 2])
        left = np.uint64(runs[run, 4])
        for index in range(rows.size):
            value = swap_bytes(words[np.int64(rows[index]) * width + word])
            packed[start + index] |= ((value >> right) & mask) << left


@njit(nogil=True, cache=True)
def expand(packed: Any, width: Any, runs: Any, constant: Any, start: Any, stop: Any, words: Any) -> None:
    """The keys (flat words) whose varying bits are ``packed[start:stop]``: the inverse of ``compress`` where one target
    word has them all. ``constant`` (uint64[width]) is any of the keys.
    """
    fixed = np.empty(width, np.uint64)
    for word in range(width):
        fixed[word] = swap_bytes(constant[word])
    for run in range(runs.shape[0]):
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - runs[run, 2])
        fixed[runs[run, 0]] &= ~(mask << np.uint64(runs[run, 1]))
    for index in range(stop - start):
        for word in range(width):
            words[index * width + word] = fixed[word]
    for run in range(runs.shape[0]):
        word = runs[run, 0]
        left = np.uint64(runs[run, 1])
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - runs[run, 2])
        right = np.uint64(runs[run, 4])
        for index in range(stop - start):
            words[index * width + word] |= ((packed[start + index] >> right) & mask) << left
    for index in range(words.size):
        words[index] = swap_bytes(words[index])


@njit(nogil=True, cache=True)
def radix(keys: Any, items: Any, start: Any, stop: Any, low: Any, high: Any, spare_keys: Any, spare_items: Any) -> None:
    """Sort ``items[start:stop]`` by bits ``low`` to ``high`` of ``keys[start:stop]``; stable, in place.

    ``keys`` is in order afterwards, too. The spare arrays are as long; what they hold is lost.
    """
    count = stop - start
    bits = high - low
    if count < 2 or bits == 0:
        return
    widest = 8 if count < 8192 else 11
    passes = (bits + widest - 1) // widest
    digit = (bits + passes - 1) // passes
    mask = np.uint64((1 << digit) - 1)
    places = np.zeros((passes, 1 << digit), np.int64)
    for index in range(start, stop):
        key = keys[index]
        for step in range(passes):
            places[step, np.int64((key >> np.uint64(low + step * digit)) & mask)] += 1
    from_keys, from_items, to_keys, to_items = keys, items, spare_keys, spare_items
    moved = 0
    for step in range(passes):
        shift = np.uint64(low + step * digit)
        place = places[step]
        if place[np.int64((from_keys[start] >> shift) & mask)] == count:
            continue
        at = start
        for bucket in range(place.size):
            here = place[bucket]
            place[bucket] = at
            at += here
        for index in range(start, stop):
            key = from_keys[index]
            bucket = np.int64((key >> shift) & mask)
            at = place[bucket]
            place[bucket] = at + 1
            to_keys[at] = key
            to_items[at] = from_items[index]
        from_keys, from_items, to_keys, to_items = to_keys, to_items, from_keys, from_items
        moved += 1
    if moved & 1:
        keys[start:stop] = spare_keys[start:stop]
        items[start:stop] = spare_items[start:stop]


@njit(nogil=True, cache=True)
def insert_sorted(keys: Any, items: Any, start: Any, stop: Any) -> None:
    """Insertion sort of a few rows by their keys, stable. Rows that came in falling order are turned round."""
    at = start + 1
    while at < stop and keys[at] < keys[at - 1]:
        at += 1
    if at == stop:
        last = stop - 1
        for first in range(start, (start + stop) >> 1):
            keys[first], keys[last] = keys[last], keys[first]
            items[first], items[last] = items[last], items[first]
            last -= 1
        return
    for index in range(start + 1, stop):
        key, item = keys[index], items[index]
        at = index
        while at > start and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            items[at] = items[at - 1]
            at -= 1
        keys[at] = key
        items[at] = item


@njit(nogil=True, cache=True)
def sort_packed(keys: Any, items: Any, bits: Any, spare_keys: Any, spare_items: Any) -> None:
    """Sort ``items`` by ``keys``, of which the low ``bits`` count; stable, in place, and ``keys`` with them.

    The upper bits, as many as there are for each row to be alone if they were evenly spread, come first.
    """
    count = keys.size
    upper = 1
    while upper < 22 and count >> upper > 0:
        upper += 1
    low = bits - upper
    if low < 8:
        radix(keys, items, 0, count, 0, bits, spare_keys, spare_items)
        return
    radix(keys, items, 0, count, low, bits, spare_keys, spare_items)
    first = 0
    for index in range(1, count + 1):
        if index < count and (keys[index] ^ keys[first]) >> np.uint64(low) == np.uint64(0):
            continue
        if index - first > 64:
            radix(keys, items, first, index, 0, low, spare_keys, spare_items)
        elif index - first > 1:
            insert_sorted(keys, items, first, index)
        first = index


@njit(nogil=True, cache=True)
def gather_words(packed: Any, order: Any, keys: Any) -> None:
    """keys[i] = packed[order[i]]."""
    for index in range(order.size):
        keys[index] = packed[order[index]]


@njit(nogil=True, cache=True)
def word_of(words: Any, offsets: Any, item: Any, depth: Any) -> Any:
    """Word ``depth`` of a key of variable width, swapped, or 0 behind its end; and how many words come after it.

    ``item`` is group << 16 | row; ``words`` and ``offsets`` (uint32) hold addresses by group.
    """
    group = np.int64(item >> np.uint32(16))
    place = offsets[group] + np.uint64(item & np.uint32(0xFFFF)) * np.uint64(4)
    first, last = np.int64(load32(place)), np.int64(load32(place + np.uint64(4)))
    rest = last - first - depth - 1
    if rest < 0:
        return np.uint64(0), np.int64(0)
    return swap_bytes(load64(words[group] + np.uint64(first + depth) * np.uint64(8))), rest


@njit(nogil=True, cache=True)
def after(words: Any, offsets: Any, left: Any, right: Any, depth: Any) -> Any:
    """Whether the key of ``left`` is greater than that of ``right``; they are equal before word ``depth``."""
    while True:
        one, one_rest = word_of(words, offsets, left, depth)
        other, other_rest = word_of(words, offsets, right, depth)
        if one != other:
            return one > other
        if one_rest == 0 and other_rest == 0:
            return False
        depth += 1


@njit(nogil=True, cache=True)
def sort_small(words: Any, offsets: Any, items: Any, start: Any, stop: Any, depth: Any) -> None:
    """Insertion sort of ``items[start:stop]``, whose keys are equal before word ``depth``."""
    for index in range(start + 1, stop):
        item = items[index]
        at = index
        while at > start and after(words, offsets, items[at - 1], item, depth):
            items[at] = items[at - 1]
            at -= 1
        items[at] = item


@njit(nogil=True, cache=True)
def squeeze(value: Any, varying: Any) -> Any:
    """The bytes of ``value`` in which ``varying`` has a bit, drawn together."""
    squeezed = np.uint64(0)
    place = np.uint64(0)
    for byte in range(8):
        shift = np.uint64(8 * byte)
        if (varying >> shift) & np.uint64(255) != np.uint64(0):
            squeezed |= ((value >> shift) & np.uint64(255)) << place
            place += np.uint64(8)
    return squeezed


@njit(nogil=True, cache=True)
def sort_variable(words: Any, offsets: Any, items: Any) -> None:
    """Sort rows (uint32: group << 16 | row) by their keys of variable width; stable, in place.

    ``words`` and ``offsets`` (uint64[groups]) are addresses of each group's words and of its uint32 word offsets.
    """
    count = items.size
    keys = np.empty(count, np.uint64)
    spare_keys = np.empty(count, np.uint64)
    spare_items = np.empty(count, np.uint32)
    waiting = np.empty((count // (16 + 1) + 2, 3), np.int64)
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = 0, count, 0
    top = 1
    while top > 0:
        top -= 1
        start, stop, depth = waiting[top, 0], waiting[top, 1], waiting[top, 2]
        if stop - start <= 16:
            sort_small(words, offsets, items, start, stop, depth)
            continue
        one = zero = np.uint64(0)
        longest = np.int64(0)
        for index in range(start, stop):
            value, rest = word_of(words, offsets, items[index], depth)
            keys[index] = value
            one |= value
            zero |= ~value
            longest = max(longest, rest)
        varying = one & zero
        if varying != np.uint64(0):
            bits = 0
            for byte in range(8):
                if (varying >> np.uint64(8 * byte)) & np.uint64(255) != np.uint64(0):
                    bits += 8
            for index in range(start, stop):
                keys[index] = squeeze(keys[index], varying)
            radix(keys, items, start, stop, 0, bits, spare_keys, spare_items)
        if longest == 0:
            continue
        first = start
        for index in range(start + 1, stop + 1):
            if index < stop and keys[index] == keys[first]:
                continue
            if index - first > 16:
                waiting[top, 0], waiting[top, 1], waiting[top, 2] = first, index, depth + 1
                top += 1
            elif index - first > 1:
                sort_small(words, offsets, items, first, index, depth + 1)
            first = index

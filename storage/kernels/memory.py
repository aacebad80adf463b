"""Loads and stores through addresses, for kernels: numba arrays cannot come from an address cheaply.

Addresses are uint64, unaligned ones are fine. Nothing checks them: whoever hands one over keeps its memory alive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic


def _loader(result: Any, bits: int) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            return builder.load(pointer, align=1)

        return result(types.uint64), build

    return load


load64 = _loader(types.uint64, 64)
load32 = _loader(types.uint32, 32)
load16 = _loader(types.uint16, 16)
load8 = _loader(types.uint8, 8)


@intrinsic
def store64(typing_context: Any, address: Any, value: Any) -> Any:
    """Store a uint64 at an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


@intrinsic
def store32(typing_context: Any, address: Any, value: Any) -> Any:
    """Store a uint32 at an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint32), build


@intrinsic
def ones64(typing_context: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


_ONE: Any = ir.IntType(64)
_EIGHT: Any = ir.VectorType(_ONE, 8)


def _spread(builder: Any, word: Any) -> Any:
    """Eight times a word."""
    vector = builder.insert_element(ir.Constant(_EIGHT, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
    return builder.shuffle_vector(vector, ir.Constant(_EIGHT, ir.Undefined), places)


def _put_scaled(builder: Any, vector: Any, bits: Any, base: Any, scale: Any, out: Any) -> None:
    """Store base + scale * i for the integers i that the lowest ``bits`` bits of each of eight words are."""
    mask = builder.sub(builder.shl(ir.Constant(_ONE, 1), bits), ir.Constant(_ONE, 1))
    vector = builder.and_(vector, _spread(builder, mask))
    vector = builder.add(builder.mul(vector, _spread(builder, scale)), _spread(builder, base))
    builder.store(vector, builder.inttoptr(out, _EIGHT.as_pointer()), align=1)


@intrinsic
def put_pairs(
    typing_context: Any, first: Any, second: Any, third: Any, fourth: Any, bits: Any, base: Any, scale: Any, out: Any
) -> Any:
    """Eight words at ``out``: base + scale * i for the two lowest ``bits``-bit integers i of each of four words.

    As vectors, which the compiler does not find by itself: five times as fast as one after the other.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *words, bits, base, scale, out = arguments
        vector = ir.Constant(_EIGHT, ir.Undefined)
        for place in range(8):
            vector = builder.insert_element(vector, words[place // 2], ir.Constant(ir.IntType(32), place))
        second_ones = ir.Constant(_EIGHT, [place % 2 for place in range(8)])
        vector = builder.lshr(vector, builder.mul(second_ones, _spread(builder, bits)))
        _put_scaled(builder, vector, bits, base, scale, out)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 8), build


@intrinsic
def put_eight(typing_context: Any, source: Any, first: Any, bits: Any, base: Any, scale: Any, out: Any) -> Any:
    """Eight words at ``out``: base + scale * i for eight ``bits``-bit integers i, at most 57 bits each.

    They begin ``first`` bits (0 to 7) behind ``source``. A load of eight bytes for each, the rest as vectors.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, bits, base, scale, out = arguments
        vector = ir.Constant(_EIGHT, ir.Undefined)
        for place in range(8):
            at = builder.add(first, builder.mul(bits, ir.Constant(_ONE, place)))
            at = builder.add(source, builder.lshr(at, ir.Constant(_ONE, 3)))
            word = builder.load(builder.inttoptr(at, _ONE.as_pointer()), align=1)
            vector = builder.insert_element(vector, word, ir.Constant(ir.IntType(32), place))
        later = builder.mul(_spread(builder, bits), ir.Constant(_EIGHT, list(range(8))))
        shifts = builder.add(_spread(builder, first), later)
        vector = builder.lshr(vector, builder.and_(shifts, ir.Constant(_EIGHT, [7] * 8)))
        _put_scaled(builder, vector, bits, base, scale, out)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 6), build


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the line of the cache at an address, which may be none."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        name = "llvm.prefetch.p0"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32]), name)
        how = [ir.Constant(int32, number) for number in (0, 2, 1)]  # to be read, into the second level, data
        builder.call(function, [builder.inttoptr(arguments[0], byte), *how])
        return context.get_dummy_value()

    return types.void(types.uint64), build


@intrinsic
def put_bits(typing_context: Any, word: Any, out: Any) -> Any:
    """The bits of a uint64, the lowest first, as 64 bytes at ``out``, each 0 or 1."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, out = arguments
        bytes_ = ir.VectorType(ir.IntType(8), 64)
        vector = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), 64)), bytes_)
        builder.store(vector, builder.inttoptr(out, bytes_.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


@intrinsic
def put_places(typing_context: Any, flags: Any, first: Any, out: Any) -> Any:
    """The places, from ``first`` on, of those of eight bytes at ``flags`` that are not 0, as words at ``out``.

    Returns how many there are; ``out`` has room for eight.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flags, first, out = arguments
        bytes_ = ir.VectorType(ir.IntType(8), 8)
        given = builder.load(builder.inttoptr(flags, bytes_.as_pointer()), align=1)
        there = builder.icmp_unsigned("!=", given, ir.Constant(bytes_, [0] * 8))
        vector = builder.add(_spread(builder, first), ir.Constant(_EIGHT, list(range(8))))
        name = "llvm.experimental.vector.compress.v8i64"
        compress = builder.module.globals.get(name)
        if compress is None:
            compress = ir.Function(builder.module, ir.FunctionType(_EIGHT, [_EIGHT, there.type, _EIGHT]), name)
        vector = builder.call(compress, [vector, there, ir.Constant(_EIGHT, ir.Undefined)])
        builder.store(vector, builder.inttoptr(out, _EIGHT.as_pointer()), align=1)
        bits = builder.zext(builder.bitcast(there, ir.IntType(8)), _ONE)
        return builder.ctpop(bits)

    return types.uint64(types.uint64, types.uint64, types.uint64), build


def _element_loader(result: Any, element: Any) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = builder.inttoptr(arguments[0], element.as_pointer())
            return builder.load(builder.gep(first, [arguments[1]]), align=1)

        return result(types.uint64, types.int64), build

    return load


def _element_storer(kind: Any, element: Any) -> Any:
    @intrinsic
    def store(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = builder.inttoptr(arguments[0], element.as_pointer())
            builder.store(arguments[2], builder.gep(first, [arguments[1]]), align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, kind), build

    return store


# Element ``index`` of the array at ``address``. The compiler vectorizes loops over these; it cannot see through an
# address that the loop computes itself.
get8 = _element_loader(types.uint8, ir.IntType(8))
get16 = _element_loader(types.uint16, ir.IntType(16))
get32 = _element_loader(types.uint32, ir.IntType(32))
get64 = _element_loader(types.uint64, ir.IntType(64))
put8 = _element_storer(types.uint8, ir.IntType(8))
put16 = _element_storer(types.uint16, ir.IntType(16))
put32 = _element_storer(types.uint32, ir.IntType(32))
put64 = _element_storer(types.uint64, ir.IntType(64))
get_real = _element_loader(types.float64, ir.DoubleType())
put_real = _element_storer(types.float64, ir.DoubleType())
get_single = _element_loader(types.float32, ir.FloatType())


@njit(nogil=True, cache=True)
def touch(data: Any) -> Any:
    """Read a byte of every page of ``data`` (uint8[n]): what may wait for the disk does so here, where others go on."""
    seen = np.uint8(0)
    for place in range(0, data.size, 4096):
        seen ^= data[place]
    return seen

"""Segments: what is written is what is read, by every way of reading, and no damaged byte goes unnoticed."""

from __future__ import annotations

import base64
import threading
import zlib
from typing import Any

import naive_segment
import numpy as np
import pytest
import segments
import typed_values
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.base import types
from weftdb.base.errors import Corrupt, LimitExceeded, Unavailable
from weftdb.base.limits import VALUE_BYTES_MAX
from weftdb.base.types import Type
from weftdb.storage import segment_format
from weftdb.storage.column_values import FixedValues, Values, VariableValues, frozen, values_of
from weftdb.storage.encoding import Physical, dictionary_of, physical_of
from weftdb.storage.files import MemoryFiles
from weftdb.storage.kernels import blocks, decoding
from weftdb.storage.kernels.blocks import BLOCK_ROWS
from weftdb.storage.segment import SectionRef, SegmentReader, SegmentWriter, block_rows_for

ROWS_MAX = 300
INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def integers(draw: st.DrawFn, *, bits: int = 64) -> list[int]:
    """Integers of every shape that has an encoding: constant, runs, steps, narrow, wild."""
    limit = 2 ** (bits - 1)
    within = st.integers(-limit, limit - 1)
    count = draw(st.integers(1, ROWS_MAX))
    match draw(st.sampled_from(("constant", "runs", "steps", "narrow", "wild"))):
        case "constant":
            values = [draw(within)] * count
        case "runs":
            values = []
            while len(values) < count:
                values += [draw(within)] * draw(st.sampled_from((1, 5, 64, 130)))
        case "steps":
            base, scale = draw(within), draw(st.integers(1, 10**12))
            width = draw(st.integers(0, 40))
            values = [base + scale * (at * 7919 % (2**width)) for at in range(count)]
        case "narrow":
            base, width = draw(within), draw(st.integers(1, bits))
            values = [base + number for number in draw(many(st.integers(0, 2**width - 1), count))]
        case _:
            values = draw(many(st.one_of(within, st.sampled_from((-limit, limit - 1, 0, -1))), count))
    return [(value + limit) % (2 * limit) - limit for value in values[:count]]


def many(values: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    """``count`` values, of which few are drawn: drawing is slow."""
    return st.lists(values, min_size=1, max_size=min(count, 40)).map(
        lambda some: [some[(at * 7 + at // len(some)) % len(some)] for at in range(count)]
    )


def holes(count: int) -> st.SearchStrategy[np.ndarray | None]:
    """Validity: none, a few NULLs, many, all."""
    densities = st.sampled_from((None, 0.0, 0.02, 0.6, 1.0))
    return st.tuples(densities, st.integers(0, 2**32)).map(
        lambda given: (
            None if given[0] is None else (np.random.default_rng(given[1]).random(count) >= given[0]).astype(np.uint8)
        )
    )


def check_reading(section: bytes, columns: dict[int, segments.Column], *, seed: int) -> None:
    """Every way of reading agrees with the naive reader, and it with what was written."""
    naive = naive_segment.read(section)
    reader = SegmentReader.open(section, name="test")
    assert reader.column_ids == tuple(columns)
    random = np.random.default_rng(seed)
    for id, (type, values, dictionary) in columns.items():
        rows = reader.rows_count
        expected = naive[id]
        written = segments.listed(values)
        if dictionary is not None:
            texts = segments.listed(dictionary)
            written = [None if code is None else texts[code] for code in written]
        assert expected == written, reader.directory(id)
        assert segments.listed(reader.read(id, type, 0, rows)) == expected
        for start, stop in np.sort(random.integers(0, rows + 1, (4, 2))).tolist():
            assert segments.listed(reader.read(id, type, start, stop)) == expected[start:stop]
        order = random.integers(0, rows, 70)
        fresh = SegmentReader.open(section, name="test")
        assert segments.listed(fresh.take(id, type, order)) == [expected[row] for row in order.tolist()]
        for row in order[:20].tolist():
            one = fresh.take_one(id, type, row)
            assert (one if one is None or isinstance(one, bytes) else segments.listed(one)[0]) == expected[row]
        assert reader.nulls_count(id) == expected.count(None)
        if dictionary is not None:
            codes = reader.codes(id, 0, rows)
            assert codes.values.dtype == np.int32
            found = [texts[code] if texts else None for code in codes.values.tolist()]
            valid = [1] * rows if codes.valid is None else codes.valid.tolist()
            assert [text if there else None for text, there in zip(found, valid, strict=True)] == expected
            assert segments.listed(reader.dictionary(id)) == (texts or [b""])
        check_fetching(reader, id, type, expected)
        if not type.is_variable:
            check_selecting(reader, id, expected, random)
    assert list(reader.check()) == []


def check_fetching(reader: SegmentReader, id: int, type: Type, expected: list[Any]) -> None:
    """Random access by address, for every row."""
    header = np.uint64(reader.header(id))
    for row, value in enumerate(expected):
        block, entry, at = (np.uint64(part) for part in blocks.place(header, np.uint64(row)))
        assert int(block) == row // reader.block_rows
        section = np.uint64(reader.address)
        assert blocks.fetch_valid(entry, section, at) == (value is not None)
        if value is None:
            continue
        if type.is_variable:
            address, length = blocks.span_at(header, np.uint64(row))
            assert at_address(address, length) == value
        elif physical_of(type) is Physical.WIDE:
            assert (blocks.fetch(entry, section, at), blocks.fetch_high(entry, section, at)) == value
        else:
            assert blocks.fetch(entry, section, at) == value % 2**64


def check_selecting(reader: SegmentReader, id: int, expected: list[Any], random: np.random.Generator) -> None:
    """Rows by their values, of runs that lie anywhere."""
    numbers = [value[0] if isinstance(value, tuple) else value for value in expected]
    numbers = [None if number is None else (number + 2**63) % 2**64 - 2**63 for number in numbers]
    there = [number for number in numbers if number is not None] or [0]
    for nulls in (False, True):
        low, high = sorted(random.choice(np.array(there, np.int64), 2).tolist())
        low, high = (low, high) if random.random() < 0.7 else (-(2**63), high)
        starts, stops = np.sort(random.integers(0, len(numbers) + 1, (5, 2))).T.copy()
        found, ends = np.empty(int((stops - starts).sum()) + 1, np.int64), np.empty(5, np.int64)
        headers = np.full(5, reader.header(id), np.uint64)
        decoding.rows_between(headers, starts, stops, low, high, int(nulls), found, ends)
        wanted = [
            [
                row
                for row in range(start, stop)
                if (nulls if (number := numbers[row]) is None else low <= number <= high)
            ]
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
        assert [rows.tolist() for rows in np.split(found[: ends[-1]], ends[:-1])] == wanted


def at_address(address: int, length: int) -> bytes:
    import ctypes

    return ctypes.string_at(address, length)


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    st.sampled_from((types.SMALLINT, types.INTEGER, types.BIGINT, types.numeric(), types.REAL, types.DOUBLE)),
    st.integers(0, 2**32),
)
def test_numbers_of_every_shape_come_back(data: st.DataObject, type: Type, seed: int) -> None:
    physical = physical_of(type)
    bits = min(8 * physical.size, 64)
    values = np.array(data.draw(integers(bits=bits)), f"i{bits // 8}")
    valid = data.draw(holes(len(values)))
    if physical is Physical.WIDE:
        pairs = np.stack([values, values >> 63], axis=1)
        if data.draw(st.booleans()):
            pairs[:: data.draw(st.integers(1, 100)), 1] ^= 5
        values = pairs.view(np.uint64)
    columns = {7: (type, FixedValues(values.view(physical.dtype), valid), None)}
    check_reading(segments.write(columns, rows=len(values))[0], columns, seed=seed)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(typed_values.EVERY_TYPE), st.integers(1, ROWS_MAX), st.integers(0, 2**32))
def test_values_of_every_type_come_back(data: st.DataObject, type: Type, count: int, seed: int) -> None:
    drawn = data.draw(many(typed_values.values_of(type, nullable=data.draw(st.booleans())), count))
    values = values_of(typed_values.array_of(drawn, type), type)
    dictionary = None
    if isinstance(values, VariableValues) and data.draw(st.booleans()):
        found = dictionary_of(values)
        if found is not None:
            dictionary, values = found[0], FixedValues(found[1], values.valid)
    columns = {-2: (type, values, dictionary)}
    check_reading(segments.write(columns, rows=count)[0], columns, seed=seed)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, ROWS_MAX), st.integers(0, 2**32))
def test_bytes_of_every_length_come_back(data: st.DataObject, count: int, seed: int) -> None:
    drawn = data.draw(many(st.one_of(st.binary(max_size=20), st.binary(min_size=300, max_size=900)), count))
    offsets = np.cumsum([0, *map(len, drawn)]).astype(np.int32)
    values = VariableValues(offsets, np.frombuffer(b"".join(drawn), np.uint8), data.draw(holes(count)))
    columns: dict[int, segments.Column] = {1: (types.BYTEA, values, None)}
    check_reading(segments.write(columns, rows=count)[0], columns, seed=seed)


def shop(rows: int, *, seed: int = 4) -> dict[int, segments.Column]:
    """Columns of a table of sales: every encoding is among them."""
    random = np.random.default_rng(seed)
    names = [f"shop {number}" for number in random.integers(0, 12, rows).tolist()]
    text = values_of(typed_values.array_of(names, types.TEXT), types.TEXT)
    assert isinstance(text, VariableValues)
    notes = [None if number % 3 else f"note {number}" for number in range(rows)]
    coded = dictionary_of(text) or (text, np.zeros(1, np.int32))
    assert len(coded[1]) == rows
    there = (random.random(rows) > 0.2).astype(np.uint8)
    return {
        1: (types.BIGINT, FixedValues(np.sort(random.integers(0, rows // 10 + 1, rows)), None), None),
        2: (types.TIMESTAMP, FixedValues(1_700_000_000_000_000 + 1_000_000 * random.permutation(rows), None), None),
        3: (types.SMALLINT, FixedValues(random.integers(-5, 90, rows, np.int16), there), None),
        4: (types.DOUBLE, FixedValues(random.random(rows), None), None),
        5: (types.TEXT, FixedValues(coded[1], there), coded[0]),
        6: (types.TEXT, values_of(typed_values.array_of(notes, types.TEXT), types.TEXT), None),
        7: (types.UUID, FixedValues(random.integers(0, 2**63, (rows, 2), np.uint64), None), None),
        8: (types.BOOLEAN, FixedValues((random.random(rows) > 0.5).astype(np.uint8), None), None),
        -1: (types.BIGINT, FixedValues(np.full(rows, 17), None), None),
    }


def test_each_column_gets_the_encoding_that_suits_it() -> None:
    columns = shop(2 * BLOCK_ROWS)
    section, _ = segments.write(columns, rows=2 * BLOCK_ROWS, block_rows=BLOCK_ROWS, piece=BLOCK_ROWS)
    reader = SegmentReader.open(section, name="test")
    found = {(size.column, size.encoding): size for size in reader.sizes()}
    assert {key for key in found if key[0] is not None} == {
        (1, "runs"),
        (2, "packed"),
        (3, "packed"),
        (4, "plain"),
        (5, "packed"),
        (5, "dictionary"),
        (6, "heap"),
        (7, "wide"),
        (8, "packed"),
        (-1, "constant"),
    }
    assert sum(size.bytes for size in found.values()) == len(section)
    assert set(reader.directory(2)["scale"].tolist()) == {1_000_000}
    assert found[-1, "constant"].bytes == 0
    assert found[8, "packed"].bytes < 2 * BLOCK_ROWS // 8 + 100
    assert reader.plain_bytes(4) == 8 * reader.rows_count


def test_a_plain_column_is_read_in_place() -> None:
    columns = shop(3 * BLOCK_ROWS + 10)
    section, _ = segments.write(columns, rows=3 * BLOCK_ROWS + 10, block_rows=BLOCK_ROWS, piece=BLOCK_ROWS)
    reader = SegmentReader.open(section, name="test")
    for id in (4, 7):
        values = reader.read(id, columns[id][0], 100, 2 * BLOCK_ROWS)
        assert isinstance(values, FixedValues)
        inside = values.values.ctypes.data - reader.address
        assert 0 < inside < len(section)
    values = reader.read(3, types.SMALLINT, 0, 10)
    assert isinstance(values, FixedValues)
    assert not 0 < values.values.ctypes.data - reader.address < len(section)


def test_arrays_that_are_read_are_read_only() -> None:
    columns = shop(200)
    reader = SegmentReader.open(segments.write(columns, rows=200)[0], name="test")
    for id, (type, _, _) in columns.items():
        for values in (reader.read(id, type, 3, 150), reader.take(id, type, np.array([5, 1]))):
            arrays: list[Any] = [values.valid]
            arrays += [values.values] if isinstance(values, FixedValues) else [values.offsets, values.data]
            assert not any(array.flags.writeable for array in arrays if array is not None)


def test_nulls_only_where_there_are_some() -> None:
    valid = np.ones(256, np.uint8)
    valid[100] = 0
    columns: dict[int, segments.Column] = {1: (types.BIGINT, FixedValues(np.arange(256), valid), None)}
    reader = SegmentReader.open(segments.write(columns, rows=256)[0], name="test")
    assert reader.read(1, types.BIGINT, 0, 64).valid is None
    assert reader.read(1, types.BIGINT, 128, 256).valid is None
    found = reader.read(1, types.BIGINT, 64, 128).valid
    assert found is not None
    assert found.tolist() == valid[64:128].tolist()
    assert reader.nulls_count(1) == 1


def test_a_segment_without_rows_can_be_written_and_read() -> None:
    columns: dict[int, segments.Column] = {
        1: (types.BIGINT, FixedValues(np.empty(0, np.int64), None), None),
        2: (types.TEXT, VariableValues(np.zeros(1, np.int32), np.empty(0, np.uint8), None), None),
    }
    reader = SegmentReader.open(segments.write(columns, rows=0)[0], name="test")
    assert segments.listed(reader.read(1, types.BIGINT, 0, 0)) == []
    assert segments.listed(reader.read(2, types.TEXT, 0, 0)) == []
    assert list(reader.check()) == []


def test_a_dictionary_without_values_serves_a_column_of_nulls() -> None:
    codes = FixedValues(np.zeros(100, np.int32), np.zeros(100, np.uint8))
    nothing = VariableValues(np.zeros(1, np.int32), np.empty(0, np.uint8), None)
    columns: dict[int, segments.Column] = {1: (types.TEXT, codes, nothing)}
    reader = SegmentReader.open(segments.write(columns, rows=100)[0], name="test")
    assert segments.listed(reader.read(1, types.TEXT, 0, 100)) == [None] * 100
    assert list(reader.check()) == []


def test_many_sections_lie_in_one_file_and_index_arrays_come_back() -> None:
    files = MemoryFiles()
    refs: list[SectionRef] = []
    arrays = {name: np.random.default_rng(at).integers(0, 2**63, 10 + at, np.uint64) for at, name in enumerate(INDEXES)}
    with files.create("a") as out:
        for rows in (100, 1, 1_000):
            writer = SegmentWriter(out, rows_count=rows)
            for id, (type, values, dictionary) in shop(rows).items():
                writer.column(id, type, [values], dictionary=dictionary)
            writer.index(**arrays)
            refs.append(writer.finish())
    mapped = files.map("a", size=files.size("a"))
    data = np.frombuffer(mapped, np.uint8)
    for rows, ref in zip((100, 1, 1_000), refs, strict=True):
        part = data[ref.offset : ref.offset + ref.length]
        reader = SegmentReader.open(part, name=f"a at {ref.offset}", checksum=ref.checksum)
        for id, (type, _, _) in shop(rows).items():
            assert len(segments.listed(reader.read(id, type, 0, rows))) == rows
        for name, array in arrays.items():
            assert getattr(reader, name).tolist() == array.tolist()
        assert list(reader.check()) == []
    with pytest.raises(Corrupt, match="not the segment"):
        SegmentReader.open(data[: refs[0].length], name="a", checksum=refs[1].checksum)


INDEXES = ("sample_words", "sample_offsets", "key_filter", "pk_filter")


def test_every_flipped_bit_is_found_by_check_and_never_read() -> None:
    columns = {id: column for id, column in shop(70).items() if id in (1, 3, 4, 5, 6)}
    keys = np.arange(9, dtype=np.uint64)
    section, _ = segments.write(columns, rows=70, sample_words=keys, key_filter=keys[:5])
    expected = naive_segment.read(section)
    silent: list[int] = []
    for at in range(len(section)):
        damaged = bytearray(section)
        damaged[at] ^= 1 << at % 8
        try:
            reader = SegmentReader.open(damaged, name="test")
        except (Corrupt, Unavailable):
            continue
        assert list(reader.check()), f"byte {at} of {len(section)}"
        messages: list[str] = []
        for id, (type, _, _) in columns.items():
            messages += read_or_corrupt(reader, id, type, expected[id])
        for name in INDEXES:
            try:
                getattr(reader, name)
            except Corrupt as error:
                messages.append(error.message)
        assert all(message.startswith("test: ") for message in messages)
        if not messages:
            silent.append(at)
    # What no reading looks at is padding, and only check does.
    assert len(silent) < 64 * (len(columns) + 5)
    assert not any(section[at] for at in silent)


def read_or_corrupt(reader: SegmentReader, id: int, type: Type, expected: list[Any]) -> list[str]:
    """Messages; what is read without one is right."""
    try:
        assert segments.listed(reader.read(id, type, 0, len(expected))) == expected
    except Corrupt as error:
        with pytest.raises(Corrupt):
            reader.take(id, type, np.arange(len(expected)))
        return [error.message]
    return []


def test_damage_fails_the_reads_that_need_it_and_no_others() -> None:
    columns = shop(200)
    section = bytearray(segments.write(columns, rows=200)[0])
    entry = SegmentReader.open(bytes(section), name="test").directory(4)[1]
    section[int(entry["offset"]) + 3] ^= 1
    reader = SegmentReader.open(section, name="000007.segments at 64")
    reader.read(4, types.DOUBLE, 0, 64)
    reader.read(4, types.DOUBLE, 128, 200)
    reader.read(1, types.BIGINT, 0, 200)
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"000007\.segments at 64: block 1 of column 4 is damaged"):
            reader.read(4, types.DOUBLE, 60, 70)
        with pytest.raises(Corrupt, match="block 1 of column 4"):
            reader.take(4, types.DOUBLE, np.array([0, 64]))
        with pytest.raises(Corrupt, match="block 1 of column 4"):
            reader.verify(4, 1)
    assert list(reader.check()) == ["000007.segments at 64: block 1 of column 4 is damaged"]


@pytest.mark.parametrize("length", [0, 1, 63, 64, 200, -1, -64])
def test_a_cut_section_is_corrupt(length: int) -> None:
    section, _ = segments.write(shop(100), rows=100)
    with pytest.raises(Corrupt):
        SegmentReader.open(section[:length], name="test")


def resealed(section: bytearray) -> bytes:
    """The section with a footer checksum that fits."""
    tail = np.frombuffer(section, segment_format.TAIL, 1, len(section) - 64)[0]
    footer = section[int(tail["footer"]) : -8]
    section[-8:] = segment_format.checksum_of(bytes(footer)).to_bytes(8, "little")
    return bytes(section)


def test_a_newer_format_is_refused_and_not_called_damaged() -> None:
    section = bytearray(segments.write(shop(100), rows=100)[0])
    section[-60] = 2
    with pytest.raises(Unavailable, match="format 2"):
        SegmentReader.open(resealed(section), name="test")


def test_check_notices_a_zone_that_does_not_fit_its_values() -> None:
    section = bytearray(segments.write(shop(100), rows=100)[0])
    reader = SegmentReader.open(bytes(section), name="test")
    place = reader.directory(3).ctypes.data - reader.address
    tail = np.frombuffer(section, segment_format.TAIL, 1, len(section) - 64)[0]
    entries = np.frombuffer(section, blocks.DIRECTORY, reader.blocks_count, place)
    table = np.frombuffer(section, segment_format.COLUMN, int(tail["columns"]), int(tail["footer"]))
    entries["high"][1] = 5
    table["directory"][2] = segment_format.checksum_of(entries)
    problems = list(SegmentReader.open(resealed(section), name="test").check())
    assert len(problems) == 1
    assert "block 1 of column 3 has high" in problems[0]


def test_text_that_no_array_can_hold_is_refused() -> None:
    text = np.full(1 << 20, 65, np.uint8)
    dictionary = VariableValues(np.array([0, 1 << 20], np.int32), text, None)
    codes = FixedValues(np.zeros(3_000, np.int32), None)
    columns: dict[int, segments.Column] = {1: (types.TEXT, codes, dictionary)}
    reader = SegmentReader.open(segments.write(columns, rows=3_000)[0], name="test")
    with pytest.raises(LimitExceeded, match="fewer rows"):
        reader.read(1, types.TEXT, 0, 3_000)
    with pytest.raises(LimitExceeded, match="fewer rows"):
        reader.take(1, types.TEXT, np.arange(3_000))
    assert len(segments.listed(reader.read(1, types.TEXT, 0, 2))[1]) == 1 << 20


def test_blocks_have_fewer_rows_where_values_are_long() -> None:
    assert block_rows_for(longest=100, total=10**6) == BLOCK_ROWS
    assert block_rows_for(longest=VALUE_BYTES_MAX, total=10**9) == BLOCK_ROWS
    assert block_rows_for(longest=VALUE_BYTES_MAX, total=10**12) == 64
    for longest in (1, 1_000, 70_000, 10**6, VALUE_BYTES_MAX):
        rows = block_rows_for(longest=longest, total=10**12)
        assert rows * longest <= 2**30
        assert rows == BLOCK_ROWS or 2 * rows * longest > 2**30


def test_a_reader_knows_how_many_bytes_values_may_have() -> None:
    columns = shop(300)
    reader = SegmentReader.open(segments.write(columns, rows=300)[0], name="test")
    for id, (type, _, _) in columns.items():
        for start, stop in ((0, 300), (70, 80), (64, 128), (5, 5)):
            values = reader.read(id, type, start, stop)
            size = values.values.nbytes if isinstance(values, FixedValues) else len(values.data)
            assert reader.bytes_max(id, start, stop) >= size


def test_threads_read_one_reader_at_once() -> None:
    columns = shop(5_000)
    section, _ = segments.write(columns, rows=5_000)
    expected = naive_segment.read(section)
    for _ in range(5):
        reader = SegmentReader.open(section, name="test")
        failures: list[object] = []
        barrier = threading.Barrier(4)

        def work(reader: SegmentReader, barrier: threading.Barrier, failures: list[object]) -> None:
            barrier.wait()
            for id, (type, _, _) in columns.items():
                if segments.listed(reader.read(id, type, 100, 4_000)) != expected[id][100:4_000]:
                    failures.append(id)

        threads = [threading.Thread(target=work, args=(reader, barrier, failures)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_the_writer_refuses_what_does_not_add_up() -> None:
    out = segments.Buffer()
    writer = SegmentWriter(out, rows_count=100, block_rows=64)
    half: Values = FixedValues(np.arange(50), None)
    with pytest.raises(AssertionError, match="inside of a block"):
        writer.column(1, types.BIGINT, [half, half])
    with pytest.raises(AssertionError, match="50 rows in a segment of 100"):
        writer.column(1, types.BIGINT, [half])
    with pytest.raises(AssertionError, match="8 bytes"):
        writer.column(1, types.BIGINT, [FixedValues(np.arange(100, dtype=np.int32), None)])


def test_the_reader_refuses_the_wrong_type_and_rows_that_are_not_there() -> None:
    reader = SegmentReader.open(segments.write(shop(100), rows=100)[0], name="test")
    with pytest.raises(AssertionError, match="holds INT64"):
        reader.read(1, types.INTEGER, 0, 10)
    with pytest.raises(AssertionError, match="rows 90 to 101 of 100"):
        reader.read(1, types.BIGINT, 90, 101)
    for row in (-1, 100):
        with pytest.raises(AssertionError, match=f"rows {min(row, 5)} to {max(row, 5)} of 100"):
            reader.take(1, types.BIGINT, np.array([5, row]))
        with pytest.raises(AssertionError, match="of 100"):
            reader.take(6, types.TEXT, np.array([5, row]))
    with pytest.raises(AssertionError, match="no column 99"):
        reader.read(99, types.BIGINT, 0, 1)
    assert frozen(np.zeros(1)).flags.writeable is False


def test_segments_of_format_1_stay_readable() -> None:
    section = zlib.decompress(base64.b85decode(FORMAT_1))
    assert naive_segment.read(section) == FORMAT_1_VALUES
    reader = SegmentReader.open(section, name="test")
    found = {id: segments.listed(reader.read(id, type, 0, reader.rows_count)) for id, type in FORMAT_1_TYPES.items()}
    assert found == FORMAT_1_VALUES
    assert list(reader.check()) == []


FORMAT_1 = (
    "c-"
    "rllZA@EL7{|}Oy_7OHR~#m+!BAP9&Bn61Fs*?|aV=1U!PZTRyo@p`6hRro(ZU!7l>r;*5XV9g0SUp5Y|cbXBreS`GxH^E&X*ad3&"
    "F|aRAypajWgI=?g8#U7N~ykgPf%2+~4W>pXcf6^PHYjju0Y?A|yl|qxC$J0KOu*M04%TA*c75D5v|xh2wRb36ZNbUY*X{du8h4bH"
    "~4Az0a;cUwhz<-Q#5b(ipEeYLX~2b(ziigZDH?MVyvK4K)lYzO9;k@0O=JZ;Dn}b$Kfai-"
    "SwHw4UA{^=ZTViVK$`yl;9cmi)VNpT4foa8zmCp-Sus32I$S?LxPHK6{Mk#R_X;&fAmkk9~(y#>Iu!*D4!&)yqdTEt0sGRE7|J#<"
    "3U7$NQ~eAK1GB>$=rVDnmzqWAA{|87b&&eiX4qS)Eq?yg5`>r*1mC>BzW7&KX*D+uJM|q4m~|b9*}{>`GZvZ(?howL{(HT<5nvu{"
    "Gt4e*R@x;w2`;9lON;XO?OG-M_WU<vMd%VsB*fcublqWv3<E)L)V{QJt%9$+vbDI!_kgI8z!qT3&M1c5?E-<kXB#Xaj{d4){^vt-"
    "v~9J#aj50&pU*0XPZxG2mq26yR;ZslaK#+ktlg8-aHM?*e`tI33sooB{j<a3*jTa5iub@NVE-U^8$Y@E+iNU<>e*zy-jCz*gWQ;H"
    "Q9#flGj&27U&(6nHOi8Sp;fa^Poy_XAe|+koxBmB3ZN2Y{=A4+7T!JAi9}{Vj~p{?qfQMri+-"
    "nl22o!}xR6z%sI`W}sl@dgB^?|6-"
    "$Nb+iove}ZOyVbAp)Y?hE?uitM=dwA=hSHF2S4hW26fN6WS?UE+IA>F{jI`Zed6?4ZQdRZdUJEPy_+n&|^zr@D$bn*5X2}8R5)Zh"
    "D2*=0*<QVG?&1ihU4+w#*1k)HD1wWs(t=go};*NR3z=KW`w*@X(F_F?^mGB*7!<c~|XjNH!Q?vi`$vkVFKQ-"
    "37ulU+R#3Om(rV!;0e^dkQ~m4gxIvk$#P2&0<S>Bg%Mri7b$`<#@Jn||uw316w-XK&)DK9`;S{EN|FG8w-"
    "v|LlCH_rApY&;EVlFh25Rs&c*RyWFfs-oC_BIXHjx?%2wfjmGaw$BZ+2>7v%3-kr2+(<@cZD`nNJpm#~d`R7Yd4?59f6(43L-"
    "AM3${~oPdI_E+?=UhVdblqqhF&x=hbDbIH#|3zj&%I21&vGoFFKkbKD1O`FOjgiq?-"
    "2VL4EkVbY5r3`|0_KU<2WAyL*x3z>RXQRF8#2t{TKIHIVTP)I==$enVzFg8QxlBT4(Tm_lJFq&M%>nC1t$N3J4&&PIrb~AN}Sx_J"
    "UUE4-@(?R?1^uZ66-Qed29a6jq-3!5v{9H#OG~{l)LU+HNoOcLj|jn)md-A*n>1fHbe^=RA>A-"
    "u~4@eEi~m4P{!YqizRs;t@3OOhSLfhP7#hWj`_t%}o7Q%0xVc@q=;MJ(BlBtEK33U-"
    "M#|QvVs4kM5J%VeU59&7qofi!p&8Q%7dwK`Wd?_<o0=a|s)iYn5=Gtxru=v^<jh7aLYycK"
)
"""A section in base 85, compressed."""

FORMAT_1_TYPES: dict[int, Type] = {
    1: types.BIGINT,
    2: types.TIMESTAMP,
    3: types.TEXT,
    4: types.BYTEA,
    5: types.DOUBLE,
    6: types.numeric(38, 2),
    -1: types.BIGINT,
}
FORMAT_1_VALUES: dict[int, list[Any]] = {
    1: [(0, 3 * 10**15 + 1, -5, 77, 2 * 10**14, 9, 10**15)[row // 20] for row in range(130)],
    2: [None if row % 5 == 0 else 10**15 + row % 7 * 60_000_000 for row in range(130)],
    3: [None if row % 5 == 0 else [b"a", b"b", b"cd"][row % 3] for row in range(130)],
    4: [b"" if row % 3 else b"xx" for row in range(130)],
    5: [(0 if row < 64 else 0x3FF8000000000000 + (row // 128 << 52)) if row % 2 else -(2**63) for row in range(130)],
    6: [(row, 7 if row >= 64 else 0) for row in range(130)],
    -1: [17] * 130,
}

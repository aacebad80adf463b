"""Files as streams of Arrow batches: Parquet, CSV and Arrow (Feather), told apart by their extension.

    .parquet .pq                     row group by row group
    .csv .tsv (also .gz .bz2 .zst)   block by block, every value as text; the table's types decide what it means
    .arrow .feather .ipc .arrows     memory-mapped file, or stream

CSV is read as text and converted by ``to_batch``, like quoted literals in SQL: no guessing of types, and 007 stays 007
in a text column. Columns that Arrow converts as a whole are tried that way first.

Not here: Feather version 1, nested Parquet columns, encodings other than UTF-8.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

from ...base.errors import Invalid, NotFound, nearest
from ...base.limits import MIB

BATCH_ROWS: Final = 50_000
_CSV_BLOCK: Final = 1 * MIB
_COMPRESSIONS: Final = (".gz", ".bz2", ".zst", ".lz4")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """``delimiter`` None: a tab for .tsv, else a comma. ``null`` unquoted stands for NULL."""

    delimiter: str | None = None
    null: str = ""


class BadFile(Invalid):
    """The file itself is broken; rows in the message are the file's."""


class Source:
    """An open file. ``names`` are its columns, ``rows`` their number if it is known; ``batches`` can be read once."""

    def __init__(
        self, *, names: list[str], rows: int | None, batches: Iterator[pa.RecordBatch], files: ExitStack
    ) -> None:
        self.names = names
        self.rows = rows
        self.batches = batches
        self._files = files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


def open_source(path: Path, *, columns: list[str] | None, csv: CsvOptions) -> Source:
    """Open a file. Raises NotFound, or Invalid for a file that is not what its extension says."""
    extension = next((suffix for suffix in reversed(path.suffixes) if suffix not in _COMPRESSIONS), "").lower()
    if path.is_dir():
        raise Invalid(f"{path} is a folder", hint="Name a file.", sqlstate="42809")
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="Check the path.")
    try:
        if extension in (".parquet", ".pq"):
            return _open_parquet(path, columns)
        if extension in (".csv", ".tsv", ".txt"):
            return _open_csv(path, columns, delimiter=csv.delimiter or ("\t" if extension == ".tsv" else ","), csv=csv)
        if extension in (".arrow", ".feather", ".ipc", ".arrows"):
            return _open_arrow(path, columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    raise Invalid(
        f"{path} has no extension that is known: {extension or 'none'}",
        hint="Use .parquet, .csv, .tsv, .arrow or .feather.",
    )


def _open_parquet(path: Path, columns: list[str] | None) -> Source:
    files = ExitStack()
    file = files.enter_context(pyarrow.parquet.ParquetFile(path))
    names = _chosen(columns, file.schema_arrow.names, path)
    batches = file.iter_batches(batch_size=BATCH_ROWS, columns=names)
    return Source(names=names, rows=file.metadata.num_rows, batches=_readable(batches, path), files=files)


def _open_arrow(path: Path, columns: list[str] | None) -> Source:
    files = ExitStack()
    data = files.enter_context(pa.memory_map(str(path)))
    rows = None
    try:
        reader = pa.ipc.open_file(data)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        rows = pyarrow.dataset.dataset(str(path), format="ipc").count_rows()
    except pa.ArrowInvalid:
        data.seek(0)
        reader = pa.ipc.open_stream(data)
        batches = iter(reader)
    names = _chosen(columns, reader.schema.names, path)
    sliced = (
        batch.select(names).slice(begin, BATCH_ROWS)
        for batch in batches
        for begin in range(0, batch.num_rows, BATCH_ROWS)
    )
    return Source(names=names, rows=rows, batches=_readable(sliced, path), files=files)


def _open_csv(path: Path, columns: list[str] | None, *, delimiter: str, csv: CsvOptions) -> Source:
    if len(delimiter) != 1:
        raise Invalid(f"the delimiter {delimiter!r} is not one character")
    files = ExitStack()
    names = _csv_header(path, delimiter)
    chosen = _chosen(columns, names, path)
    data = files.enter_context(pa.input_stream(str(path), compression="detect"))
    reader = pyarrow.csv.open_csv(
        data,
        read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.utf8()),
            include_columns=chosen,
            null_values=[csv.null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return Source(names=chosen, rows=None, batches=_readable(iter(reader), path), files=files)


def _csv_header(path: Path, delimiter: str) -> list[str]:
    """The names in the first line. The file is opened twice, since the types must be given before it is read."""
    with pa.input_stream(str(path), compression="detect") as data:
        if data.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise _not_utf8(path, "UTF-16")
    with pa.input_stream(str(path), compression="detect") as data:
        reader = pyarrow.csv.open_csv(
            data,
            read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        )
        try:
            return reader.schema.names
        except UnicodeDecodeError:
            raise _not_utf8(path, "LATIN1") from None


def _not_utf8(path: Path, encoding: str) -> BadFile:
    hint = f"Convert the file: iconv -f {encoding} -t UTF-8."
    return BadFile(f"{path.name} is not UTF-8: its first line is not", hint=hint, sqlstate="22021")


def _chosen(columns: list[str] | None, names: list[str], path: Path) -> list[str]:
    if columns is None:
        return names
    for name in columns:
        if name not in names:
            raise Invalid(
                f'{path.name} has no column "{name}"',
                hint=nearest(name, names) or f"It has {', '.join(names)}.",
                sqlstate="42703",
            )
    return columns


def _readable(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """The batches; what is wrong with the file further on is Invalid and names how far it could be read."""
    rows = 0
    try:
        for batch in batches:
            yield batch
            rows += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error, after=rows) from None


def _unreadable(path: Path, error: Exception, *, after: int = 0) -> BadFile:
    """What Arrow says about a broken file. It counts a CSV file's header as row 1; the first row of data is ours."""
    message = re.sub(r"\bRow #(\d+)", lambda match: f"row {int(match[1]) - 1:,}", str(error))
    where = f" after row {after:,}" if after else ""
    hint = "Is that the delimiter? --delimiter takes another." if "CSV parse error" in message else None
    return BadFile(f"{path.name} cannot be read{where}: {message}", hint=hint, sqlstate="22P04")

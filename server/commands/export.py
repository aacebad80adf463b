"""``weft export``: a table into a file, in an order of its own, in bounded memory.

The rows come as ``Table.export`` gives them, so two files of one snapshot are the same bytes (as long as the program
that writes them is). The file appears under its name when it is complete.

    .parquet .pq         a row group for each batch
    .arrow .feather .ipc Arrow file · .arrows  Arrow stream
    .csv                 as `weft sql --format csv` prints, which `weft load` reads
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet

from ...base.errors import Invalid
from ...base.result import Result
from ...sql.copy.files import complete_or_absent
from ..progress import Progress
from ..shell.output import Format, Layout, print_result
from .target import open_target


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    write = _writer_for(path)
    columns = [name.strip() for name in arguments.columns.split(",")] if arguments.columns else None
    as_of = next((x for x in (arguments.snapshot, arguments.version, arguments.time) if x is not None), None)
    with open_target(arguments.url) as database, database.snapshot(as_of) as snapshot:
        reader = snapshot.table(arguments.table).export(columns=columns)
        version = snapshot.version
        progress = Progress(arguments.table, total=None, out=sys.stderr)
        with progress, complete_or_absent(path) as unfinished:
            try:
                write(_counted(reader, progress), unfinished)
            except pa.ArrowNotImplementedError as error:
                raise Invalid(
                    f"{path.name} cannot hold a column of {arguments.table}: {error}",
                    hint="Use .arrow, or leave the column out with --columns.",
                    sqlstate="0A000",
                ) from None
    print(f"{progress.count:,} rows of {arguments.table} at version {version:,} exported to {path}")
    return 0


def _counted(reader: pa.RecordBatchReader, progress: Progress) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield batch
            progress.update(progress.count + batch.num_rows)

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> None:
    with pyarrow.parquet.ParquetWriter(str(path), reader.schema, compression="zstd") as file:
        for batch in reader:
            file.write_batch(batch)


def _write_file(reader: pa.RecordBatchReader, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as file:
        for batch in reader:
            file.write_batch(batch)


def _write_stream(reader: pa.RecordBatchReader, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, reader.schema) as file:
        for batch in reader:
            file.write_batch(batch)


def _write_csv(reader: pa.RecordBatchReader, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        print_result(Result(schema=reader.schema, batches=iter(reader), version=0), Layout(format=Format.CSV), out)


_WRITERS: Final[dict[str, Callable[[pa.RecordBatchReader, Path], None]]] = {
    ".parquet": _write_parquet,
    ".pq": _write_parquet,
    ".arrow": _write_file,
    ".feather": _write_file,
    ".ipc": _write_file,
    ".arrows": _write_stream,
    ".csv": _write_csv,
}


def _writer_for(path: Path) -> Callable[[pa.RecordBatchReader, Path], None]:
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise Invalid(
            f"{path} has no extension that is known: {path.suffix or 'none'}",
            hint=f"Use one of {' '.join(_WRITERS)}.",
        )
    if not path.absolute().parent.is_dir():
        raise Invalid(f"there is no folder {path.absolute().parent}", hint="Make it first.")
    return write

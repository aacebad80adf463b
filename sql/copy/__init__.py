"""COPY: rows between tables (or queries) and files, in PostgreSQL's formats and in Parquet, Arrow and JSON lines.

``statement`` reads the statement, ``options`` are what stands in its WITH; ``encode`` makes bytes of a result,
``decode`` batches of bytes (``lines`` for text and CSV, exactly and slowly; ``decode`` has the quick way of those);
``run`` does both inside a session, with the files that it may use (``files``).

The prompt uses ``encode`` and ``decode`` itself for ``\\copy`` and STDIN, whose files are the client's.
"""

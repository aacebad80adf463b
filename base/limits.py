"""Every limit in one place: name, value, unit, reason. Relations between limits are asserted at the end."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# Log records. A record is one LMDB value and one fsync; beyond this the sequencer starts the next group.
RECORD_BYTES_MAX: Final = 8 * MIB
RECORD_ROWS_MAX: Final = 100_000
RECORD_TRANSACTIONS_MAX: Final = 4_096

# What one commit may bring in memory. Rows beyond a record's limits were written into files before (engine/spill.py;
# their bound is the option max_transaction_bytes): deltas remain. Also what a server collects of all loads together.
TRANSACTION_BYTES_MAX: Final = 2 * GIB

# What a transaction writes row by row stays Python values up to this (engine/row_writes.py), then becomes columns.
ROW_WRITES_MAX: Final = 1_024
ROW_WRITES_BYTES_MAX: Final = 1 * MIB
ROW_WRITES_LOGGED_MAX: Final = 64  # more become columns before the commit lock is taken

# Rows whose last change the sequencer knows without asking the cells (engine/conflict_index.py); of all tables.
CONFLICT_INDEX_ROWS_MAX: Final = 65_536
CONFLICT_INDEX_BYTES_MAX: Final = 16 * MIB  # with keys of 100 bytes; of longer ones there is room for fewer

# Memory (engine/memory.py): shares of memory_limit. Half for rows not yet in segments, a quarter for the relational
# executor; the last quarter is for all else, of which one transaction's write set may take a quarter.
MEMTABLES_SHARE: Final = 2  # writers wait when memtables hold more than 1/2
EXECUTOR_SHARE: Final = 4
WRITE_SET_SHARE: Final = 16  # a transaction spills beyond 1/16
PIPELINES_SHARE: Final = 8  # groups and rows of all pipelines that run; beyond it the executor answers, which spills
TEXTS_SHARE: Final = 16  # of that: numbers of texts, kept for the next query until groups need it (pipeline/texts.py)
JOIN_KEYS_SHARE: Final = 32  # of joins that run; beyond it scans tell each other nothing
FLUSH_SHARE: Final = 8  # so that three more fit while one is written
FLUSH_BYTES_MIN: Final = 8 * MIB  # less makes segments so small that compaction does nothing else
FLUSH_BYTES_MAX: Final = 512 * MIB  # more makes restarts slow and gains nothing
EXECUTOR_BYTES_MIN: Final = 64 * MIB  # DuckDB sorts, joins and groups any number of rows with this and one thread
EXECUTOR_THREAD_BYTES: Final = 128 * MIB  # of 8 M x 8 M rows a join fails with 64 MiB a thread, and not with this
WRITE_SET_BYTES_MIN: Final = 4 * MIB
WRITE_SET_BYTES_MAX: Final = 256 * MIB
STALL_SECONDS: Final = 30.0  # a commit that waits longer for memory is refused

# Wire messages: a result begins in chunks of 1 MiB, so that its first rows are there soon, and goes on in chunks of 4,
# which gRPC carries half as fast again; the receive limit leaves room for one wide batch.
MESSAGE_BYTES_MAX: Final = 64 * MIB
CHUNK_BYTES: Final = 1 * MIB
ANSWER_BYTES: Final = CHUNK_BYTES // 2  # a result of at most so much is whole in its answer
ANSWER_VALUES: Final = 64  # so many values travel as they are, and not as Arrow
LATER_CHUNK_BYTES: Final = 4 * MIB

# One value (text, bytea, json), one row, one SQL text, columns of one table, parameters of one statement.
VALUE_BYTES_MAX: Final = 16 * MIB
COPY_ROW_BYTES_MAX: Final = 64 * MIB  # one row of a text, CSV or JSON file
STATEMENT_BYTES_MAX: Final = 16 * MIB
COLUMNS_MAX: Final = 1_600
INDEXES_MAX: Final = 64
"""Of one table."""
INDEX_COLUMNS_MAX: Final = 32
PARAMETERS_MAX: Final = 65_535
NAME_BYTES_MAX: Final = 63

# Sessions, open transactions and snapshots pin versions; writers are remembered for exactly-once retries.
SESSIONS_MAX: Final = 1_000
CALLS_MAX: Final = 256  # calls that a server runs at once, open streams included; each has a thread
SNAPSHOTS_MAX: Final = 10_000
NAMED_SNAPSHOTS_MAX: Final = 1_000
WRITERS_MAX: Final = 100_000  # who wrote last; of each the last 2 x WRITER_BATCHES_IN_FLIGHT batches
TRANSACTION_IDS_MAX: Final = 100_000  # the newest that committed
CONFLICT_ROWS_MAX: Final = 1_000  # rows whose conflicts are counted one by one (engine/contention.py)
CONFLICT_TABLES_MAX: Final = 10_000
TRANSACTION_LEASE_SECONDS: Final = 60
IDLE_TRANSACTION_SECONDS: Final = 600  # unless told: a program that computes between two calls, not one that forgot
DEFINITIONS_KEPT_MAX: Final = 1_000  # of tables, by a client
SCHEMAS_KEPT_MAX: Final = 1_000  # of results, as they are on the wire; by a server, and by a client
RESULTS_WAITING_MAX: Final = 256  # too large for their answers, and not asked for yet; the oldest is dropped
RESULT_WAIT_SECONDS: Final = 10.0
SESSIONS_ENDED_MAX: Final = 10_000  # whose end a server remembers, for a client that lost the answer and asks again
COMMIT_RETRY_SECONDS: Final = 30.0  # how long a client asks what became of its COMMIT: longer than a restart

# A batch of an export (base/batches.py): a part of the promise that two exports of a snapshot are the same bytes.
EXPORT_ROWS: Final = 65_536
EXPORT_BYTES: Final = 64 * MIB  # of text and the like: rows of the largest values are cut earlier

# The client's writer: rows of one batch, batches in flight, how long a row waits for company.
WRITER_BATCH_ROWS: Final = 20_000
WRITER_BATCHES_IN_FLIGHT: Final = 8
WRITER_LINGER_SECONDS: Final = 0.02
AT_LEAST_SECONDS: Final = 30.0  # how long a read waits for a version, where it has no time-out of its own
WRITER_ROWS_BITS: Final = 40  # of a sequence number: rows, below how often the writer was opened (engine/changes.py)

# Change feeds (engine/feed_window.py): what one read brings at most, and holds until it was taken.
FEED_BYTES: Final = 16 * MIB  # more than a record of the log, so that its rows mostly come at once
FEED_ROWS_MAX: Final = 131_072
FEED_ROWS_MIN: Final = 64
FEED_POSITIONS_MAX: Final = 1_000  # with a name
FEED_CALLS_MAX: Final = 128  # open at a server; each has a thread of CALLS_MAX

# SQL: what a session keeps, what is kept for all of them, and how deep or wide a query may be.
UPDATE_DELTAS_MAX: Final = 100  # rows of an UPDATE that are written as deltas; more are written as whole rows
PREPARED_MAX: Final = 1_000  # prepared statements of one session
SAVEPOINTS_MAX: Final = 10_000  # of one transaction, by name
READ_KEYS_MAX: Final = 100_000  # that SERIALIZABLE and FOR UPDATE tell apart, by table; more are all its rows
READ_RANGES_MAX: Final = 1_000  # conditions, likewise
SOURCES_MAX: Final = 512  # texts kept per database as they were cut into statements
SOURCES_BYTES_MAX: Final = 8 * MIB
TREES_MAX: Final = 512  # parsed statements kept per database, by text
TREE_TEXT_MAX: Final = 20_000  # longer texts are loads written as SQL: they do not come again
TREES_BYTES_MAX: Final = 32 * MIB
PLANS_MAX: Final = 512  # plans of queries kept per database
PLANS_BYTES_MAX: Final = 16 * MIB
VERIFY_ROWS_MAX: Final = 1_000_000  # EXPLAIN VERIFY holds two answers in memory and sorts them
SHAPES_MAX: Final = 512  # texts without their literals, of which is known what may be a parameter
LIFTED_TEXT_MAX: Final = 4_096  # longer texts keep their literals
LITERALS_LIFTED_MAX: Final = 64  # texts with more of them keep them
PROJECTIONS_MAX: Final = 64  # choices of columns kept per table, for the reads to come
RETRY_SECONDS_MAX: Final = 30.0  # a statement without a time-out of its own is tried again after conflicts
GROUPING_SETS_MAX: Final = 4_096
VIEW_DEPTH_MAX: Final = 32

# Pipelines: who is given kernels, and what is kept of these (engine/pipeline/kernels.py, files.py).
PIPELINE_ROWS_MIN: Final = 10_000  # the executor is as fast with fewer rows
PIPELINE_ROWS_MANY: Final = 1_000_000  # below these a kernel is not compiled before its program ran for long
PIPELINE_VALUES_MAX: Final = 1 << 17  # groups of what the executor computes with; more are not fewer than rows for it
PIPELINE_RUN_SECONDS: Final = 1.0  # so long: about what compiling takes
SORTED_ROWS_MAX: Final = (
    8_192  # of a table, that are sorted without the executor, which takes a millisecond to be asked
)
TOP_ROWS_MIN: Final = 16_384  # the executor sorts fewer as fast
TOP_ROWS_MAX: Final = 65_536  # LIMIT and OFFSET together: ranks of so many are sorted again and again
TOP_TIES_MAX: Final = 131_072  # rows that are kept where a sort key that is cut short ties
NEWEST_GROUPS_MAX: Final = 1 << 24  # groups that have a place each, whether they are there or not: 16 bytes and more
PIPELINE_SIDE_COST: Final = 3  # rows that a kernel spares the executor while it makes one row of a joined side
PIPELINE_SIDE_BYTES_MAX: Final = 128 * MIB  # of the rows of a joined side; more are the executor's
PIPELINE_DENSE_MAX: Final = 1 << 21  # accumulators made at once, of all places of groups; more groups are looked up
PIPELINE_DENSE_MANY: Final = 32  # times as many where there are as many rows as places
PIPELINE_LANES_MAX: Final = 16  # of one pipeline: runs of rows that threads take; more only where sums would not fit
PIPELINE_LANES_MOST: Final = 4_096
PIPELINE_LANE_ROWS: Final = 1 << 20  # where groups are looked up: what gives way of so many is kept until it is merged
PIPELINE_STATE_BYTES: Final = 4 * MIB  # of all lanes that add up floats: with larger states there are fewer lanes
PIPELINE_TEXT_ROWS: Final = 4  # with fewer rows for each different text, the executor tests rows faster than these
PIPELINE_BITS_MAX: Final = 1 << 28  # a bit for each value that there may be, 32 MiB for each thread
PIPELINE_BITS_PER_ROW: Final = 64  # with more of them than that many times the rows, values are looked up
TEXT_COLUMNS_MAX: Final = 256  # whose texts have numbers
TEXT_ROWS_AT_ONCE: Final = 2_000_000  # without a dictionary; more get numbers when keys of them are asked for again
KERNELS_MAX: Final = 256  # that one database knows
KERNELS_WAITING_MAX: Final = 64  # for the compiler; more are not even remembered
KERNEL_FILES_MAX: Final = 1_024  # of a user
KERNEL_FILES_BYTES_MAX: Final = 256 * MIB
COMPILE_SECONDS_MAX: Final = 120  # one to three are usual
HELPER_IDLE_SECONDS: Final = 20.0  # then the process that compiles ends; it has some 150 MiB
HELPER_STARTS_MAX: Final = 3  # in vain, before a database does without

# Tables.
SHARDS_MAX: Final = 1_024
SLICES_OPEN_MAX: Final = 10_000  # with rows that are not in segments yet
SLICES_MAX: Final = 100_000  # of one table: each cell costs a few kilobytes of memory
DROP_ROWS_MAX: Final = 100_000  # of slices that retention drops in one record, with indexes or views; or one slice

# Segments of one cell before the cheapest are merged whatever their sizes; rows that one merge brings together.
SEGMENTS_PER_CELL_MAX: Final = 12
COMPACTION_ROWS_MAX: Final = 64 * 1024 * 1024
NUMERIC_PRECISION_MAX: Final = 38

assert RECORD_BYTES_MAX < MESSAGE_BYTES_MAX, "a record that came in one message must fit the way out, too"
assert RECORD_ROWS_MAX < FEED_ROWS_MAX, "a record of small rows is one batch of a feed"
assert FEED_CALLS_MAX < CALLS_MAX, "feeds that wait leave room for others"
assert VALUE_BYTES_MAX * 2 <= MESSAGE_BYTES_MAX, "a row with one value of the largest size must fit a message"
assert COPY_ROW_BYTES_MAX > VALUE_BYTES_MAX, "a value of the largest size fits a row of a file"
assert (
    sum(1 / share for share in (MEMTABLES_SHARE, EXECUTOR_SHARE, WRITE_SET_SHARE, PIPELINES_SHARE, JOIN_KEYS_SHARE)) < 1
), "the shares leave room for the rest"
assert TEXTS_SHARE > PIPELINES_SHARE, "numbers of texts leave room for groups"
assert FLUSH_SHARE > MEMTABLES_SHARE, "memtables are flushed long before writers wait"
assert WRITER_BATCH_ROWS <= RECORD_ROWS_MAX, "one writer batch never needs two records"

NUMERIC_EXPONENT_MAX: Final = 131_071
"""Digits before the point of a number inside of JSONB, as in PostgreSQL."""

COMMENT_BYTES_MAX: Final = 10_000
"""Of one COMMENT ON: comments are kept in the catalog, which is in memory."""

GAPFILL_BUCKETS_MAX: Final = 1_000_000
"""Buckets of the range of one ``time_bucket_gapfill``: they are made as one list."""

VIEW_BUILD_BYTES_MAX = 1 << 30
"""Groups that making a materialized view holds before it writes them."""

VIEW_EARLY_BYTES_MAX: Final = 256 * MIB
"""Groups, and values in them, that a large transaction makes before its commit, for all views, rows that wait
for it included; rows of a view that has more are grouped by the commit."""

VERIFY_VIEW_BYTES: Final = 128 * MIB
"""Groups that VERIFY MATERIALIZED VIEW holds; more go to files and are compared in parts."""

TIME_ORDERS_BYTES_MAX: Final = 64 * MIB
"""Of a table's segments, see engine/time_order.py; in the gauge "orders" of memory."""

WINDOW_ROWS_MAX: Final = 1 << 17
"""Rows of short windows of event time that are read at once, see engine/windows.py; more are scanned."""

VIEW_GROUPS_MAX: Final = 1_000_000
"""Groups of a view that one query adds up; for more the table's rows are read, by those who spill."""

VERIFY_LISTED_MAX: Final = 100
"""Groups that differ of which VERIFY MATERIALIZED VIEW says how; it counts all."""

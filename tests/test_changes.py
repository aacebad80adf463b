"""The change feed at its doors: an embedded and a remote database give the same; and what only a server can meet."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import weftdb
from breaking_proxy import BreakingProxy
from weftdb.base.errors import Closed, Internal, Invalid, LimitExceeded, NotFound, Unavailable
from weftdb.base.interface import Changes, Database
from weftdb.client import feed as client_feed
from weftdb.engine import feed_window
from weftdb.engine.database import Engine
from weftdb.engine.feed import Feed
from weftdb.engine.options import Options
from weftdb.server import feed as server_feed
from weftdb.server.service import Server, serve

CREATE = "CREATE TABLE items (id BIGINT PRIMARY KEY, n INTEGER, note TEXT)"


@pytest.fixture
def items(database: Database) -> Any:
    database.execute(CREATE)
    return database.table("items")


def lines(changes: Changes, count: int) -> list[tuple[object, ...]]:
    """The next rows, so many of them."""
    found: list[tuple[object, ...]] = []
    while len(found) < count:
        batch = changes.poll(10)
        assert batch is not None, f"only {found} came"
        found += [tuple(row.values()) for row in batch.to_pylist()]
    assert len(found) == count
    return found


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_changes_come_in_the_order_of_versions_with_the_row_of_before(database: Database, items: Any) -> None:
    start = database.version
    first = items.put([(1, 10, "a"), (2, 20, None)]).version
    second = items.update(2, n=21).version
    third = items.delete([1, 7]).version
    with database.transaction() as transaction:
        own = transaction.table("items")
        own.put((3, 30, "c"))
        own.add(2, n=1)
        own.put((4, 40, "gone"))
        own.delete(4)
        fourth = transaction.commit()
    expected = [
        ("insert", first, 1, 10, "a"),
        ("insert", first, 2, 20, None),
        ("before", second, 2, 20, None),
        ("update", second, 2, 21, None),
        ("delete", third, 1, 10, "a"),
        ("before", fourth, 2, 21, None),
        ("update", fourth, 2, 22, None),
        ("insert", fourth, 3, 30, "c"),
    ]
    with database.changes("items", start, before=True) as changes:
        found = lines(changes, len(expected))
        assert [line[1] for line in found] == [line[1] for line in expected]
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert changes.position == database.version
        assert changes.poll(0) is None
    with database.changes("items", second) as changes:
        assert sorted(lines(changes, 3), key=str) == sorted([expected[4], *expected[6:]], key=str)
    with database.changes("items") as changes:
        assert changes.position == database.version
        assert changes.poll(0) is None


def test_batches_have_the_columns_of_the_table_with_their_types(database: Database, items: Any) -> None:
    with database.changes("items") as changes:
        items.put((1, 1, "a"))
        batch = next(changes)
        assert batch.schema.names == ["weft_operation", "weft_version", "id", "n", "note"]
        assert [field.metadata[b"weft.type"] for field in batch.schema] == [
            b"text", b"bigint", b"bigint", b"integer", b"text",
        ]  # fmt: skip
        assert not batch.schema.field("id").nullable


def test_at_the_end_it_waits_for_the_next_commit(database: Database, items: Any) -> None:
    with database.changes("items") as changes:
        begin = time.monotonic()
        assert changes.poll(0.2) is None
        assert 0.15 < time.monotonic() - begin < 5
        writer = threading.Timer(0.2, lambda: items.put((1, 1, "late")))
        writer.start()
        batch = changes.poll()
        writer.join()
        assert batch is not None
        assert batch["note"].to_pylist() == ["late"]
        assert changes.position >= batch["weft_version"][0].as_py()


def test_a_name_goes_on_after_what_was_acknowledged(database: Database, items: Any) -> None:
    with database.changes("items", name="copy") as changes:
        versions = [items.put((n, n, None)).version for n in range(4)]
        assert len(lines(changes, 4)) == 4
        changes.acknowledge(versions[1])
    with database.changes("items", name="copy") as changes:
        assert changes.position == versions[1]
        assert [line[1] for line in lines(changes, 2)] == versions[2:]
        changes.acknowledge()
        changes.acknowledge(versions[0])  # what was said before stays said
        with pytest.raises(Invalid, match="does not exist: the newest is"):
            changes.acknowledge(database.version + 9)
    read = "SELECT name, table_name, version, lag_versions, lost FROM weft_feeds"
    (row,) = database.execute(read).rows()
    assert row[:2] == ("copy", "items")
    assert row[2] >= versions[3]
    assert row[3:] == (0, None)
    items.put((9, 9, None))
    assert database.execute("SELECT lag_versions > 0 FROM weft_feeds").scalar() is True
    database.execute("CREATE TABLE other (id BIGINT PRIMARY KEY)")
    with pytest.raises(Invalid, match='feed "copy" is one of another table, "items"') as failed:
        database.changes("other", name="copy")
    assert failed.value.sqlstate == "42710"
    assert database.execute("DROP FEED copy").tag == "DROP FEED"
    assert database.execute(read).rows() == []
    with pytest.raises(NotFound, match='feed "copy" does not exist'):
        database.execute("DROP FEED copy")
    database.execute("DROP FEED IF EXISTS copy")


def test_a_name_finds_the_last_changes_of_a_table_that_was_dropped(database: Database, items: Any) -> None:
    with database.changes("items", name="copy") as changes:
        begun = changes.position
        last = items.put((1, 1, "a")).version
    database.execute("DROP TABLE items")
    with pytest.raises(Invalid, match='relation "items" does not exist'):
        database.changes("items")
    database.execute(CREATE)  # another one
    database.table("items").put((9, 9, "not of this feed"))
    with database.changes("items", name="copy") as changes:
        assert changes.position == begun
        assert lines(changes, 1) == [("insert", last, 1, 1, "a")]
        with pytest.raises(NotFound, match='table "items" was dropped at version'):
            changes.poll(5)
        changes.acknowledge()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DROP FEED", "syntax error at end of input"),
        ("DROP FEED a, b", 'syntax error at or near ","'),
        ("BEGIN; DROP FEED a", "cannot run inside a transaction block"),
    ],
)
def test_drop_feed_stands_alone(database: Database, sql: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        database.execute(sql)


def test_what_is_asked_wrongly_is_refused_at_once(database: Database, items: Any) -> None:
    for call, state in (
        (lambda: database.changes("item"), "42P01"),
        (lambda: database.changes("items", database.version + 5), "22023"),
        (lambda: database.changes("items", -1), "22023"),
        (lambda: database.changes("items", "monday"), "22023"),  # pyright: ignore[reportArgumentType]
        (lambda: database.changes("items", name=""), "42602"),
        (lambda: database.changes("items", name="x" * 64), "42602"),
    ):
        with pytest.raises(Invalid) as failed:
            call()
        assert failed.value.sqlstate == state
    with database.changes("items") as changes, pytest.raises(Invalid, match="has no position to keep"):
        changes.acknowledge()
    with pytest.raises(Closed):
        changes.poll(0)
    del items


def test_the_schema_is_that_of_the_table_at_its_versions(database: Database, items: Any) -> None:
    start = database.version
    items.put((1, 1, "a"))
    database.execute("ALTER TABLE items ADD COLUMN more TEXT DEFAULT 'm'")
    items.put((2, 2, "b", "x"))
    database.execute("ALTER TABLE items DROP COLUMN n")
    database.execute("UPDATE items SET note = 'z' WHERE id = 1")
    database.execute("ALTER TABLE items RENAME COLUMN note TO text")
    items.delete(2)
    seen: list[tuple[list[str], list[Any]]] = []
    with database.changes("items", start, before=True) as changes:
        for _ in range(4):
            batch = changes.poll(10)
            assert batch is not None
            seen.append((batch.schema.names[2:], [tuple(row.values())[2:] for row in batch.to_pylist()]))
    assert seen == [
        (["id", "n", "note"], [(1, 1, "a")]),
        (["id", "n", "note", "more"], [(2, 2, "b", "x")]),
        (["id", "note", "more"], [(1, "a", "m"), (1, "z", "m")]),
        (["id", "text", "more"], [(2, "b", "x")]),
    ]


def test_truncate_is_deletes_and_a_drop_is_the_end(database: Database, items: Any) -> None:
    with database.changes("items") as changes:
        items.put([(1, 1, "a"), (2, 2, "b")])
        database.execute("TRUNCATE items")
        items.put((3, 3, "c"))
        database.execute("DROP TABLE items")
        found = lines(changes, 5)
        assert sorted((line[0], line[2]) for line in found) == [
            ("delete", 1), ("delete", 2), ("insert", 1), ("insert", 2), ("insert", 3),
        ]  # fmt: skip
        with pytest.raises(NotFound, match='table "items" was dropped at version') as failed:
            changes.poll(5)
        assert failed.value.sqlstate == "42P01"


def test_a_feed_ends_with_its_database(database: Database, items: Any) -> None:
    del items
    changes = database.changes("items")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            changes.poll()
        except Closed as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    database.close()
    waiting.join(10)
    assert len(raised) == 1


# -- what only a server can meet -------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Engine.open(options=Options(maintenance=False, history_seconds=0)), port=0) as server:
        yield server


@pytest.fixture
def remote(server: Server) -> Iterator[Database]:
    with weftdb.connect(server.address) as database:
        database.execute(CREATE)
        yield database


def test_a_client_that_comes_too_late_is_told_how_far_history_goes(server: Server, remote: Database) -> None:
    start = remote.version
    remote.changes("items", name="kept").close()
    for n in range(3):
        remote.table("items").put((1, n, None))
        server.engine.flush()
        server.engine.compact()
    with (
        remote.changes("items", start) as late,
        pytest.raises(Invalid, match=rf"after version {start} are no longer kept: history goes back to") as failed,
    ):
        late.poll(5)
    assert failed.value.sqlstate == "72000"
    with remote.changes("items", name="kept") as kept:
        assert [line[0] for line in lines(kept, 3)] == ["insert", "update", "update"]


def test_a_server_reads_no_further_ahead_than_its_client(
    server: Server, remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_window, "FEED_BYTES", 1 << 20)
    monkeypatch.setattr(feed_window, "FEED_ROWS_MIN", 1)
    reads: list[int] = []
    read = Feed.read

    def counted(feed: Feed) -> pa.RecordBatch | None:
        batch = read(feed)
        if batch is not None:
            reads.append(batch.num_rows)
        return batch

    monkeypatch.setattr(Feed, "read", counted)
    rows = 60
    with remote.changes("items", name="slow") as changes:
        for n in range(rows):
            remote.table("items").put((n, n, "x" * (1 << 20)))
        eventually(lambda: len(reads) > 0)
        time.sleep(0.5)
        assert sum(reads) < rows / 2, "the client has not taken anything"
        assert [line[2] for line in lines(changes, rows)] == list(range(rows))
        assert sum(reads) == rows
    del server


def test_the_server_lets_go_of_clients_that_vanish_are_forgotten_or_close(server: Server, remote: Database) -> None:
    feeds = server._feeds  # pyright: ignore[reportPrivateUsage]

    def opened(count: int) -> Callable[[], bool]:
        return lambda: feeds._open == count  # pyright: ignore[reportPrivateUsage]

    closed, forgotten = remote.changes("items"), remote.changes("items")
    other = weftdb.connect(server.address)
    vanishing = other.changes("items")
    eventually(opened(3))
    closed.close()
    eventually(opened(2))
    del forgotten
    gc.collect()
    eventually(opened(1))
    other.wire._channel.close()  # pyright: ignore[reportAttributeAccessIssue]
    eventually(opened(0))
    del vanishing
    other.close()


def test_the_position_of_a_quiet_table_is_told_while_others_are_busy(
    remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_feed, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(server_feed, "POSITION_SECONDS", 0.1)
    remote.execute("CREATE TABLE others (id BIGINT PRIMARY KEY)")
    busy = threading.Event()

    def write() -> None:
        while not busy.is_set():
            remote.table("others").put((1,))

    writer = threading.Thread(target=write)
    with remote.changes("items") as changes:
        begun = changes.position
        writer.start()
        try:
            eventually(lambda: changes.poll(0.05) is None and changes.position > begun + 5)
        finally:
            busy.set()
            writer.join()


def test_what_a_client_cannot_read_is_an_error_and_no_wait_for_ever(
    remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote.changes("items") as changes:
        with monkeypatch.context() as patch:
            patch.setattr(client_feed, "read_batch", lambda *_, **__: pa.ipc.read_message(b""))
            remote.table("items").put((1, 1, None))
            with pytest.raises(Internal, match="the feed stopped by a bug"):
                changes.poll(10)
        try:
            found = lines(changes, 1)
        except Internal:  # it had been read once more before the patch was gone
            found = lines(changes, 1)
        assert [line[2] for line in found] == [1], "it comes again"


def test_a_server_has_a_limit_of_open_feeds(remote: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_feed, "FEED_CALLS_MAX", 1)
    with remote.changes("items"), pytest.raises(LimitExceeded, match="FEED_CALLS_MAX"):
        remote.changes("items")
    eventually(lambda: _can_open(remote))


def _can_open(database: Database) -> bool:
    try:
        database.changes("items").close()
    except LimitExceeded:
        return False
    return True


def test_a_feed_goes_on_at_the_server_that_comes_after(tmp_path: Path) -> None:
    options = Options(maintenance=False)
    first = serve(Engine.open(tmp_path / "data", options=options), port=0)
    with weftdb.connect(first.address) as database:
        database.execute(CREATE)
        with database.changes("items") as changes:
            database.table("items").put((1, 1, None))
            assert len(lines(changes, 1)) == 1
            begin = time.monotonic()
            first.stop()
            assert time.monotonic() - begin < 5, "a feed that waits holds nobody up"
            with serve(Engine.open(tmp_path / "data", options=options), port=first.port):
                database.table("items").put((2, 2, None))
                assert [line[2] for line in lines(changes, 1)] == [2]


def test_a_broken_connection_loses_no_row_and_brings_none_twice(server: Server, remote: Database) -> None:
    with (
        BreakingProxy(server.port) as proxy,
        weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as database,
        database.changes("items", name="copy") as changes,
    ):
        found: list[object] = []
        for n in range(30):
            remote.table("items").put((n, n, None))
            if n % 10 == 5:
                proxy.break_all()
                found += [line[2] for line in lines(changes, n + 1 - len(found))]
        found += [line[2] for line in lines(changes, 30 - len(found))]
    assert found == list(range(30))


def test_a_version_that_came_half_is_begun_anew_and_that_is_told(
    server: Server, remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_window, "FEED_ROWS_MAX", 4)
    monkeypatch.setattr(feed_window, "FEED_ROWS_MIN", 1)
    start = remote.version
    with remote.transaction() as transaction:
        for n in range(40):
            transaction.table("items").put((n, n, "x" * (1 << 19)))
    version = remote.version
    with (
        BreakingProxy(server.port) as proxy,
        weftdb.connect(f"weft://127.0.0.1:{proxy.port}") as database,
        database.changes("items", start) as changes,
    ):
        first = changes.poll(10)
        assert first is not None
        assert first.num_rows < 40
        assert changes.position == version - 1
        proxy.break_all()
        with pytest.raises(Unavailable, match=f"amid the changes of version {version}") as failed:
            _read_on(changes)
        assert failed.value.sqlstate == "08006"
        assert changes.position == version - 1
        assert {line[2] for line in lines(changes, 40)} == set(range(40))
        assert changes.position == version


def _read_on(changes: Changes) -> None:
    while (batch := changes.poll(10)) is not None:
        assert batch.num_rows

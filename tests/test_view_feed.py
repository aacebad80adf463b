"""The change feed of a materialized view: its rows as they come, change and go, in the order of versions."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
import soak
import weftdb
from weftdb.base.errors import Invalid, NotFound

DDL = "CREATE TABLE t (id INT PRIMARY KEY, k INT, x INT)"
VIEW = "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(x) AS total, avg(x) AS mean FROM t GROUP BY k"


def everything(feed: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while (batch := feed.poll(0)) is not None:
        rows += batch.to_pylist()
    return rows


def test_groups_come_change_and_go(database: Any) -> None:
    database.execute(DDL)
    database.execute(VIEW)
    with database.changes("v", before=True) as feed:
        database.execute("INSERT INTO t VALUES (1, 7, 10), (2, 7, NULL), (3, NULL, 5)")
        database.execute("UPDATE t SET x = 20 WHERE id = 1")
        database.execute("DELETE FROM t WHERE id = 3")
        rows: list[dict[str, Any]] = []
        while len(rows) < 5 and (batch := feed.poll(30)) is not None:
            rows += batch.to_pylist()
    shown = [(row["weft_operation"], row["k"], row["n"], row["total"]) for row in rows]
    assert sorted(shown[:2], key=str) == [("insert", 7, 2, 10), ("insert", None, 1, 5)]
    assert shown[2:] == [("before", 7, 2, 10), ("update", 7, 2, 20), ("delete", None, 1, 5)]
    assert [*rows[0]] == ["weft_operation", "weft_version", "k", "n", "total", "mean"]


@pytest.mark.parametrize("seed", [1000 * soak.SEED + number for number in range(2 * soak.FACTOR)])
def test_a_copy_that_follows_is_the_view(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    db = weftdb.open(tmp_path / "data")
    db.execute(DDL)
    db.execute(VIEW)
    db.changes("v", name="copy").close()
    copy: dict[Any, Any] = {}
    position = 0
    for step in range(60):
        for _ in range(draw.randint(0, 3)):
            match draw.choice(("put", "put", "update", "delete", "truncate", "many")):
                case "put":
                    db.table("t").put([(draw.randint(1, 30), draw.choice((None, 1, 2, 3)), draw.randint(-5, 5))])
                case "update":
                    db.execute(f"UPDATE t SET k = k + 1 WHERE id % 3 = {draw.randint(0, 2)}")
                case "delete":
                    db.execute(f"DELETE FROM t WHERE id > {draw.randint(5, 30)}")
                case "many":
                    rows = "SELECT i, i % 50, i FROM generate_series(100, 400) AS g(i)"
                    db.execute(f"INSERT INTO t {rows} ON CONFLICT DO NOTHING")
                case _:
                    db.execute("TRUNCATE t")
        if step % 13 == 7:
            db.engine.maintenance.flush()
        if step % 20 == 19:
            db.close()
            db = weftdb.open(tmp_path / "data")
        if draw.random() < 0.5:
            with db.changes("v", name="copy") as feed:
                for row in everything(feed):
                    if row["weft_operation"] == "delete":
                        del copy[row["k"]]
                    else:
                        copy[row["k"]] = (row["n"], row["total"], row["mean"])
                position = feed.position
                feed.acknowledge()
            with db.snapshot(position) as snapshot:
                shown = {k: (n, total, mean) for k, n, total, mean in snapshot.execute("SELECT * FROM v").rows()}
            assert copy == shown
    db.close()


def test_who_waits_is_woken_and_hears_of_the_end(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        db.execute(VIEW)
        feed = db.changes("v")
        timer = threading.Timer(0.2, lambda: db.execute("INSERT INTO t VALUES (1, 1, 1)"))
        timer.start()
        batch = feed.poll(30)
        timer.join()
        assert batch is not None
        assert batch.to_pylist()[0]["total"] == 1
        db.execute("DROP MATERIALIZED VIEW v")
        with pytest.raises(NotFound, match="was dropped"):
            feed.poll(5)


def test_names_are_those_of_views_and_plain_views_have_no_feed(tmp_path: Path) -> None:
    with weftdb.open(tmp_path / "data") as db:
        db.execute(DDL)
        db.execute(VIEW)
        db.changes("v", name="copy").close()
        assert db.execute("SELECT name, table_name FROM weft_feeds").rows() == [("copy", "v")]
        with pytest.raises(Invalid, match='another table, "v"'):
            db.changes("t", name="copy")
        db.execute("CREATE VIEW plain AS SELECT * FROM t")
        with pytest.raises(Invalid) as error:
            db.changes("plain")
        assert error.value.sqlstate == "42809"

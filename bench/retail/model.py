"""One propensity model per category: will this household buy it in the next 30 days?

Everything comes from one query at one snapshot, read as Arrow batches: per household and month, how many baskets, how
much money, how many baskets with the category. A model sees three months and is asked about the month after:

    month   5  4  3  2  1  0          training   5 4 3 → 2,  6 5 4 → 3,  ...
            ├──┴──┤  ?                test       3 2 1 → 0      (the last month, which training has not seen)
                                      scores     2 1 0 → the month after the data

Logistic regression, because its scores are probabilities as they are: the demo prints how often those happened that
were called likely. Nothing is tuned to the thresholds of the audience.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

MEASURES = ("baskets", "sales", "bread", "soft_drinks")
CATEGORIES = {"BREAD": "bread", "SOFT DRINKS": "soft_drinks"}
_WINDOW = 3
_TRAINING_MONTHS = range(1, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """``auc`` on the last month; ``likely_share``: of the households scored >= 0.66 for it, the share that did buy."""

    category: str
    scores: np.ndarray
    auc: float
    likely_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """``cube[household, month, measure]``, float64; month 0 is the last. ``households`` are sorted, int64."""

    households: np.ndarray
    cube: np.ndarray


def read_history(reader: pa.RecordBatchReader) -> History:
    """Arrange the batches of the features query. Rows may come in any order."""
    batches = [batch for batch in reader if batch.num_rows]
    columns = {
        name: np.concatenate([batch.column(name).to_numpy(zero_copy_only=False) for batch in batches])
        for name in reader.schema.names
    }
    households, row = np.unique(columns["household_id"], return_inverse=True)
    month = columns["month"].astype(np.int64)
    cube = np.zeros((len(households), int(month.max()) + 1, len(MEASURES)))
    for place, measure in enumerate(MEASURES):
        cube[row, month, place] = columns[measure].astype(np.float64)
    return History(households=households, cube=cube)


def train_and_score(history: History, category: str) -> Scored:
    """Train on the past, test on the last month, score the month to come."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    measure = MEASURES.index(CATEGORIES[category])
    bought = history.cube[:, :, measure] > 0
    features = np.vstack([_features(history, before=month, measure=measure) for month in _TRAINING_MONTHS])
    labels = np.concatenate([bought[:, month] for month in _TRAINING_MONTHS])
    model: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(features, labels)
    expected = model.predict_proba(_features(history, before=0, measure=measure))[:, 1]
    return Scored(
        category=category,
        scores=model.predict_proba(_features(history, before=-1, measure=measure))[:, 1],
        auc=float(roc_auc_score(bought[:, 0], expected)),
        likely_share=float(bought[expected >= 0.66, 0].mean()),
    )


def score_table(history: History, scored: list[Scored], *, version: int) -> pa.Table:
    """Rows for ``propensity_scores``."""
    count = len(history.households)
    return pa.table(
        {
            "household_id": pa.array(np.tile(history.households, len(scored)), pa.int64()),
            "category": pa.array([one.category for one in scored for _ in range(count)], pa.utf8()),
            "score": pa.array(np.concatenate([one.scores for one in scored]), pa.float64()),
            "trained_at_version": pa.array(np.full(count * len(scored), version), pa.int64()),
        }
    )


def _features(history: History, *, before: int, measure: int) -> np.ndarray:
    """What is known before ``before``: the three months, their sums, and in how many the category was bought."""
    window = history.cube[:, before + 1 : before + 1 + _WINDOW, :]
    return np.hstack(
        [
            np.log1p(window.reshape(len(window), -1)),
            np.log1p(window.sum(axis=1)),
            (window[:, :, measure] > 0).sum(axis=1, keepdims=True),
        ]
    )

"""The result of a backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparsefit.backtesting.aggregate import cluster_interval, sign_flip_p
from sparsefit.backtesting.cells import Skipped
from sparsefit.backtesting.means import SCORES, mean_budget, mean_scores, series_means
from sparsefit.backtesting.rolling import BUCKETS, UNSEEN
from sparsefit.backtesting.stacking import mixture_terms, stacking_weights
from sparsefit.backtesting.text import first_failures
from sparsefit.errors import ArgumentError, quoted
from sparsefit.strict_json import plain

if TYPE_CHECKING:
    import pandas as pd

By = Literal["overall", "cut", "bucket", "series"]

# Column of the tables by which each grouping groups.
_COLUMNS: dict[By, str | None] = {
    "overall": None,
    "cut": "cut",
    "bucket": "bucket",
    "series": "run",
}
LOWER_IS_BETTER = ("mae", "crps", "winkler90")


@dataclass(frozen=True, repr=False)
class Backtest:
    """Scores of forecasting methods on held-back checkpoints.

    Errors, CRPS, Winkler scores and widths are in percentage points of the activation ratio,
    coverages are shares. Averages are taken within a cell (run and cut), then over a run's cuts,
    then over runs; intervals resample runs (cluster bootstrap).

    Attributes
    ----------
    points : DataFrame
        One row a method and forecast point.
    cells : DataFrame
        One row a method, run and cut: status (ok, failed), message, fallback (what replaced the
        method, and why), note, seconds, and mean scores.
    budgets : DataFrame
        One row a method, cell and target ratio: does the 90% band of the curve hold the true
        crossing? Only for methods that forecast a curve.
    skipped : tuple of Skipped
        Cells that could not be formed, and why.
    methods, cuts, scheme, others, seed
        What was run.
    samples : mapping (method, run, cut) -> ndarray of shape (200, n)
        Evenly spaced quantiles of each forecast.
    """

    points: pd.DataFrame
    cells: pd.DataFrame
    budgets: pd.DataFrame
    skipped: tuple[Skipped, ...]
    methods: tuple[str, ...]
    cuts: tuple[float, ...]
    scheme: str
    others: str
    seed: int
    samples: Mapping[tuple[str, str, float], np.ndarray] = field(default_factory=dict)

    def table(self, by: By = "overall", level: float = 0.9) -> pd.DataFrame:
        """Mean scores of each method, overall or by cut, horizon bucket or series.

        Parameters
        ----------
        by : {"overall", "cut", "bucket", "series"}
            Grouping. Buckets are D / D_cut: 1-1.25, 1.25-1.6, 1.6-2.2, >2.2.
        level : float
            Level of the cluster-bootstrap intervals of coverages (`*_lower`, `*_upper`; missing
            where a group has a single series).

        Returns
        -------
        DataFrame
            Columns method, the group, n_series, n_points, the scores, and counts of failed cells
            and of cells with a fallback.
        """
        import pandas as pd

        group: Any = _group_column(by)
        rows = []
        for method in self.methods:
            points = self.points[self.points["method"] == method]
            budgets = self.budgets[self.budgets["method"] == method]
            cells = self.cells[self.cells["method"] == method]
            for value in self._groups(by):
                chosen = points if group is None else points[points[group] == value]
                if group is not None and chosen.empty and not self._expected(value, by):
                    continue
                row: dict[str, Any] = {"method": method}
                if group is not None:
                    row[by] = value
                row.update(mean_scores(chosen, level, self.seed))
                limits = _in_group(budgets, by, value)
                row.update(mean_budget(limits, level, self.seed))
                own = _in_group(cells, by, value)
                row["failed"] = int((own["status"] != "ok").sum())
                row["fallbacks"] = int(own["fallback"].notna().sum())
                row["seconds"] = float(own["seconds"].sum())
                rows.append(row)
        return pd.DataFrame(rows)

    def differences(
        self,
        reference: str = "lm_multistart",
        score: str = "mae",
        *,
        margin: float = 0.05,
        level: float = 0.9,
    ) -> pd.DataFrame:
        """Paired differences from a reference method: negative is better than the reference.

        A method is called better (worse) only if the cluster-bootstrap interval over series lies
        below (above) zero and a sign-flip test over series has p < 1 - level; the bootstrap alone
        is too sure of itself with a handful of series.

        Parameters
        ----------
        reference : str
            Method to compare with.
        score : {"mae", "crps", "winkler90"}
            Score, in percentage points.
        margin : float
            A cell counts as worse when its score exceeds the reference's by more than this.
        level : float
            Level of the interval.

        Returns
        -------
        DataFrame
            Columns method, difference, lower, upper, p, n_series, cells, cells_worse (share), worst
            (largest excess in a cell), worst_cell, verdict. Cells that either method failed are
            left out and show in `cells`.
        """
        import pandas as pd

        if reference not in self.methods:
            raise ArgumentError(
                f"reference: {quoted(reference)} is not among the methods run: "
                f"{', '.join(self.methods)}."
            )
        if score not in LOWER_IS_BETTER:
            raise ArgumentError(f"score: one of {', '.join(LOWER_IS_BETTER)}, got {quoted(score)}.")
        wide = self.cells.pivot(index=["run", "cut"], columns="method", values=score)
        rows = []
        for method in self.methods:
            if method == reference:
                continue
            gap = (wide[method] - wide[reference]).dropna()
            by_series = gap.groupby(level="run", sort=False).mean().to_numpy()
            rng = np.random.default_rng([self.seed, 1])
            mean = float(by_series.mean()) if by_series.size else float("nan")
            lower, upper = cluster_interval(by_series, rng, level)
            p = sign_flip_p(by_series, rng)
            verdict = "not shown"
            if p < 1 - level and upper < 0:
                verdict = "better"
            elif p < 1 - level and lower > 0:
                verdict = "worse"
            worst: Any = gap.idxmax() if len(gap) else None
            rows.append(
                {
                    "method": method,
                    "reference": reference,
                    "score": score,
                    "difference": mean,
                    "lower": lower,
                    "upper": upper,
                    "p": p,
                    "n_series": int(by_series.size),
                    "cells": len(gap),
                    "cells_worse": float((gap > margin).mean()) if len(gap) else float("nan"),
                    "worst": float(gap.max()) if len(gap) else float("nan"),
                    "worst_cell": f"{worst[0]} at {worst[1]:g}" if worst else "",
                    "verdict": verdict,
                }
            )
        return pd.DataFrame(rows)

    def calibration(
        self, levels: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    ) -> pd.DataFrame:
        """Coverage of central intervals against their level, with cluster-bootstrap intervals."""
        import pandas as pd

        rows = []
        for method in self.methods:
            points = self.points[self.points["method"] == method]
            for level in levels:
                hits = (points["level_holding"] <= level).astype(float)
                series = series_means(points.assign(hit=hits), ["hit"])["hit"].to_numpy()
                rng = np.random.default_rng([self.seed, 2])
                lower, upper = cluster_interval(series, rng)
                rows.append(
                    {
                        "method": method,
                        "level": float(level),
                        "covered": float(series.mean()) if series.size else float("nan"),
                        "lower": lower,
                        "upper": upper,
                    }
                )
        return pd.DataFrame(rows)

    def stacking(
        self,
        run: str | None = None,
        *,
        prior: Mapping[str, float] | None = None,
        strength: float = 1.0,
    ) -> pd.Series:
        """Weights of the methods whose mixture has the lowest mean relative CRPS.

        Parameters
        ----------
        run : str, optional
            Use the cells of this run alone.
        prior : mapping, optional
            Weight of each method without evidence; equal by default.
        strength : float
            Pull towards the prior, in cells; see `stacking.stacking_weights`.

        Returns
        -------
        Series
            Index method, sums to one. A method that failed a cell gets no weight.
        """
        import pandas as pd

        cells, points = self.cells, self.points
        if run is not None:
            cells, points = cells[cells["run"] == run], points[points["run"] == run]
        count = len(cells[["run", "cut"]].drop_duplicates())
        done = cells.loc[cells["status"] == "ok", "method"].value_counts()
        whole = [name for name in self.methods if done.get(name, 0) == count]
        if not whole or points.empty:
            why = first_failures(cells)
            told = f": {why}" if why else ""
            raise ArgumentError(f"stacking: no method forecast every cell{told}.")
        terms = []
        groups: Any = points.groupby(["run", "cut"], sort=False)
        for (name, cut), rows in groups:
            observed = rows.loc[rows["method"] == whole[0], "observed"].to_numpy()
            terms.append(mixture_terms([self.samples[m, name, cut] for m in whole], observed))
        distances, spreads = (np.stack(part) for part in zip(*terms, strict=True))
        start = None
        if prior is not None:
            start = np.array([prior[name] for name in whole])
            start = start / start.sum()
        weights = stacking_weights(distances, spreads, prior=start, strength=strength)
        found = pd.Series(0.0, index=pd.Index(self.methods, name="method"), name="weight")
        found.loc[whole] = weights
        return found

    def best(self, score: str = "crps") -> str:
        """The method with the lowest mean score among those that failed no cell."""
        table = self.table()
        complete = table[table["failed"] == 0].dropna(subset=[score])
        if complete.empty:
            raise ArgumentError("best: every method failed on some cell.")
        return str(complete.sort_values(score, kind="stable")["method"].iloc[0])

    def tidy(self) -> pd.DataFrame:
        """All mean scores in long form: method, by, group, score, value, lower, upper."""
        import pandas as pd

        rows = []
        for by in _COLUMNS:
            records: list[Any] = self.table(by).to_dict("records")
            for record in records:
                for name in (*SCORES, "budget90"):
                    rows.append(
                        {
                            "method": record["method"],
                            "by": by,
                            "group": "all" if by == "overall" else record[by],
                            "score": name,
                            "value": record[name],
                            "lower": record.get(f"{name}_lower", np.nan),
                            "upper": record.get(f"{name}_upper", np.nan),
                        }
                    )
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Readable report: tables overall, by cut and by horizon, and what is shown."""
        from sparsefit.backtesting.text import backtest_text

        return backtest_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single points, as plain values (missing numbers are None)."""
        document: dict[str, Any] = {
            "methods": self.methods,
            "cuts": self.cuts,
            "scheme": self.scheme,
            "others": self.others,
            "seed": self.seed,
            "unit": "percentage points of the activation ratio; coverages are shares",
        }
        for by in _COLUMNS:
            document[f"by_{by}"] = self.table(by)
        if len(self.methods) > 1:
            document["differences"] = self.differences(self.reference)
        document["cells"] = self.cells
        document["skipped"] = [asdict(one) for one in self.skipped]
        return dict(plain(document))

    @property
    def reference(self) -> str:
        """What differences are taken from by default: multi-start LM where it was run."""
        return "lm_multistart" if "lm_multistart" in self.methods else self.methods[0]

    def __repr__(self) -> str:
        runs = self.cells["run"].nunique()
        return (
            f"Backtest({len(self.methods)} methods, {runs} series, "
            f"cuts {', '.join(f'{cut:g}' for cut in self.cuts)}, {self.scheme})"
        )

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from sparsefit.backtesting.text import backtest_html

        return backtest_html(self)

    def _groups(self, by: By) -> list[Any]:
        if by == "overall":
            return [None]
        if by == "cut":
            return list(self.cuts)
        if by == "series":
            return list(self.cells["run"].drop_duplicates())
        present = set(self.points["bucket"])
        return [name for name in (*BUCKETS, UNSEEN) if name in present]

    def _expected(self, value: Any, by: By) -> bool:
        """Whether the group has any cell at all (so that a method without points failed there)."""
        return by in ("cut", "series") and bool((self.cells[_group_column(by)] == value).any())


def _group_column(by: By) -> Any:
    if by not in _COLUMNS:
        raise ArgumentError(f"by: one of {', '.join(_COLUMNS)} is expected, got {quoted(by)}.")
    return _COLUMNS[by]


def _in_group(table: pd.DataFrame, by: By, value: Any) -> pd.DataFrame:
    """Rows of a cell-level table in the group (a bucket has no cells of its own: all rows)."""
    if by in ("overall", "bucket"):
        return table
    return table[table[_group_column(by)] == value]

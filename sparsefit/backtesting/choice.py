"""What `forecast_best` rests on: its candidates and a backtest of them inside the runs given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sparsefit.backtesting.memo import fingerprint, recalled
from sparsefit.backtesting.registry import METHODS, Method, resolve
from sparsefit.backtesting.rolling import backtest, joined
from sparsefit.backtesting.text import first_failures
from sparsefit.errors import ArgumentError, NothingToForecastError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

# Candidates where the user names none: unlike in the way they fail, and all with a curve.
CANDIDATES = ("fit", "fit_bayes_pooled", "log_linear", "damped_smoothing", "lm_multistart")


def default_candidates(table: pd.DataFrame) -> tuple[Method, ...]:
    """Candidates that can work on a table: pooling needs several runs of known sizes."""
    found = resolve([name for name in CANDIDATES if name in METHODS])
    sizes = table.groupby("run")["n_params"].first() if "n_params" in table else None
    if sizes is not None and sizes.notna().all() and len(sizes) > 1:
        return found
    return tuple(method for method in found if not method.pooled)


def inner_backtest(
    table: pd.DataFrame,
    methods: tuple[Method, ...],
    cuts: Sequence[float],
    min_seen: int,
    seed: int,
    jobs: int,
    target: str | None,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Backtest inside the runs given; what it found of a run before is not computed again.

    Pooled methods see the other runs in full, whatever their size, as they do when they forecast
    beyond the table: only so do the scores tell what pooling is worth there. Points of `target`, a
    run that has only begun, are not shown for the other runs, whose scores then stay the same as it
    grows.
    """
    import pandas as pd

    settings = (tuple(m.name for m in methods), tuple(cuts), min_seen, seed)
    if jobs > 1 or any(not isinstance(m.target, str) for m in methods):
        return backtest(
            table,
            methods,
            cuts,
            others="all",
            min_seen=min_seen,
            rng=seed,
            jobs=jobs,
            progress=progress,
        )
    pooled = any(method.pooled for method in methods)
    parts: list[Backtest] = []
    short: NothingToForecastError | None = None
    each, total = len(methods) * len(cuts), len(methods) * len(cuts) * table["run"].nunique()
    for index, (run, rows) in enumerate(table.groupby("run", sort=False)):
        shown = rows
        if pooled:
            others = table[~table["run"].isin([run, target])]
            shown = pd.concat([rows, others], ignore_index=True)
        one = partial(
            backtest,
            shown,
            methods,
            cuts,
            runs=str(run),
            others="all",
            min_seen=min_seen,
            rng=seed,
            progress=_later(progress, index * each, total),
        )
        try:
            parts.append(recalled(("inner", str(run), fingerprint(shown), *settings), one))
        except NothingToForecastError as error:
            short = error
    if progress is not None:
        progress(total, total)
    if not parts:
        raise short or ArgumentError("table: it has no rows.")
    return joined(parts)


def _later(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """Progress of one part of a job: `before` forecasts are done, of `total`."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def prior_weights(methods: Sequence[Method]) -> dict[str, float]:
    """Weights without evidence: half for the first candidate, the others share the rest."""
    if len(methods) == 1:
        return {methods[0].name: 1.0}
    rest = 0.5 / (len(methods) - 1)
    return {method.name: rest if index else 0.5 for index, method in enumerate(methods)}


def reason(inner: Backtest, weights: pd.Series) -> str:
    """Which candidate leads, on what evidence, and what that evidence cannot show."""
    table = inner.table().set_index("method")
    leader = str(weights.idxmax())
    cells = inner.cells.groupby(["run", "cut"]).ngroups
    runs = inner.cells["run"].nunique()
    parts = [
        f"{leader} leads with weight {weights[leader]:.2f}: forecasting the later part of "
        f"{'this run' if runs == 1 else f'these {runs} runs'} from {cells} cuts, its mean CRPS was "
        f"{float(table['crps'][leader]):.3f} points"
    ]
    rest = table.drop(index=leader)["crps"].dropna().sort_values()
    names = [str(name) for name in rest.index]
    if names:
        parts.append(f" (best of the others: {names[0]}, {rest.iloc[0]:.3f})")
    text = "".join(parts) + "."
    if names:
        gap = inner.differences(leader, "crps").set_index("method")["verdict"]
        shown = [str(name) for name in gap.index if gap[name] == "worse"]
        if shown:
            text += f" Shown to be better than {', '.join(shown)}."
        else:
            text += " So few series cannot show which is better; the weights hedge."
    failed = first_failures(inner.cells)
    if failed:
        text += f" Without weight, as it failed: {failed}."
    return text

"""Backtest: forecast points that were held back, and score the forecasts."""

from __future__ import annotations

import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparsefit.backtesting import scores
from sparsefit.backtesting.cells import Cell, Others, Scheme, Skipped, alone, form_cells, usable
from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.registry import Method, MethodsGiven, resolve
from sparsefit.errors import ArgumentError, NothingToForecastError, SparsefitError, quoted
from sparsefit.seeds import Rng, seed_of
from sparsefit.table import validate

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

# Upper ends of the horizon buckets in units of the last seen tokens.
BUCKET_ENDS = (1.25, 1.6, 2.2, np.inf)
BUCKETS = ("1-1.25", "1.25-1.6", "1.6-2.2", ">2.2")
UNSEEN = "unseen run"

# Quantiles of each forecast that the result keeps, for stacking.
SAMPLE_LEVELS = (np.arange(200) + 0.5) / 200

# Shares of the held-back change at which budgets (token counts that reach a ratio) are scored.
BUDGET_SHARES = (0.25, 0.5, 0.75)


def backtest(
    table: pd.DataFrame,
    methods: MethodsGiven | str | None = None,
    cuts: Sequence[float] = (0.3, 0.5, 0.7),
    *,
    runs: Sequence[str] | str | None = None,
    scheme: Scheme = "rolling",
    others: Others = "smaller",
    min_seen: int = 6,
    rng: Rng = 0,
    jobs: int = 1,
    on_error: Literal["record", "raise"] = "record",
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Score forecasting methods on checkpoints that they have not seen.

    For each run and cut the first ``round(cut * n)`` of its n checkpoints are seen and all later
    ones are forecast.

    Parameters
    ----------
    table : DataFrame
        Measurement table: run, tokens, activation_ratio, and optional columns. Rows whose `status`
        is not "ok" are left out and counted in `Backtest.skipped`.
    methods : names, functions or a mapping of names to them, optional
        Names of `sparsefit.backtesting.METHODS`, plain functions
        ``(seen, tokens, rng) -> MethodForecast``, or `Method`. A function that also wants the
        points of other runs has an attribute ``pooled = True``. Default: all that are registered.
    cuts : sequence of float
        Shares of each run's checkpoints that are seen, each inside (0, 1).
    runs : str or sequence of str, optional
        Runs that are forecast, all by default; the others are only shown to pooled methods.
    scheme : {"rolling", "leave-one-run-out"}
        Rolling origin, or forecasting a whole run from the others alone (pooled methods only).
    others : {"smaller", "all"}
        Which other runs a pooled method sees in full: those with strictly fewer parameters
        (`n_params`), or all. No method ever sees later points of the run that it forecasts.
    min_seen : int
        A cell with fewer seen points is skipped, and listed in `Backtest.skipped`.
    rng : int or Generator
        Seed. Each cell and method gets its own stream, so that results depend neither on the
        order nor on `jobs`.
    jobs : int
        Processes.
    on_error : {"record", "raise"}
        Whether a method's exception is kept as that cell's message, or raised.
    progress : callable, optional
        Called after each forecast with how many are done, and how many there are.

    Returns
    -------
    Backtest
        Scores of every method by cut, horizon and series, and every single forecast.

    Raises
    ------
    TableError
        For a faulty table, see `sparsefit.validate`.
    ArgumentError
        For a wrong argument; `NothingToForecastError` where no cell could be formed.
    """
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

    chosen = resolve(methods)
    table = validate(table, min_points=0)
    _check_arguments(cuts, scheme, others, jobs, on_error, min_seen)
    if scheme == "leave-one-run-out":
        chosen = _without_own_points(chosen, asked=methods is not None)
        cuts = (0.0,)
    kept, unusable = usable(table)
    wanted = _wanted(table, runs)
    formed = list(form_cells(kept, wanted, cuts, scheme, others, min_seen))
    cells = [item for item in formed if isinstance(item, Cell)]
    skipped = [
        *(item for item in unusable if item.run in wanted),
        *(item for item in formed if isinstance(item, Skipped)),
    ]
    if not cells or not chosen:
        reasons = "; ".join(f"{s.place}: {s.reason}" for s in skipped[:5])
        why = reasons or "no pooled method given"
        raise NothingToForecastError(f"table: nothing to forecast ({why}).")
    seed = seed_of(rng)
    tasks = [
        (method, cell if method.pooled else alone(cell), seed, on_error == "raise")
        for cell in cells
        for method in chosen
    ]
    outcomes = []
    for outcome in _run(tasks, jobs):
        outcomes.append(outcome)
        if progress is not None:
            progress(len(outcomes), len(tasks))
    points = pd.DataFrame([row for one in outcomes for row in one.points], columns=POINT_COLUMNS)
    budgets = pd.DataFrame([row for one in outcomes for row in one.budgets], columns=BUDGET_COLUMNS)
    return Backtest(
        points=points,
        cells=_cell_table([one.summary for one in outcomes], points),
        budgets=budgets,
        skipped=tuple(skipped),
        methods=tuple(method.name for method in chosen),
        cuts=tuple(float(cut) for cut in cuts),
        scheme=scheme,
        others=others,
        seed=seed,
        samples={
            (one.summary["method"], one.summary["run"], one.summary["cut"]): one.sample
            for one in outcomes
            if one.sample is not None
        },
    )


def joined(parts: Sequence[Backtest]) -> Backtest:
    """Backtests of the same methods and cuts on different runs as one."""
    import pandas as pd

    def stacked(name: str) -> pd.DataFrame:
        tables = [getattr(part, name) for part in parts]
        full = [table for table in tables if not table.empty]
        return pd.concat(full, ignore_index=True) if full else tables[0]

    return replace(
        parts[0],
        points=stacked("points"),
        cells=stacked("cells"),
        budgets=stacked("budgets"),
        skipped=tuple(one for part in parts for one in part.skipped),
        samples={key: value for part in parts for key, value in part.samples.items()},
    )


POINT_COLUMNS = [
    "method", "run", "cut", "tokens", "horizon", "bucket", "observed", "median",
    "lower50", "upper50", "lower90", "upper90", "abs_error", "crps", "winkler90",
    "covered50", "covered90", "width50", "width90", "pit", "level_holding",
]  # fmt: skip
BUDGET_COLUMNS = ["method", "run", "cut", "target", "tokens", "covered"]
# Scores in percentage points of the activation ratio.
POINT_SCORES = ("abs_error", "crps", "winkler90", "covered50", "covered90", "width50", "width90")


def _check_arguments(
    cuts: Sequence[float],
    scheme: str,
    others: str,
    jobs: int,
    on_error: str,
    min_seen: int,
) -> None:
    shares = list(cuts) if isinstance(cuts, Iterable) else []
    numbers = all(isinstance(cut, int | float | np.floating) for cut in shares)
    if not shares or not numbers or not all(0 < cut < 1 for cut in shares):
        got = shares or cuts
        raise ArgumentError(f"cuts: a list of shares inside (0, 1) is expected, got {quoted(got)}.")
    if len(set(cuts)) < len(cuts):
        raise ArgumentError(f"cuts: a cut is given more than once in {quoted(list(cuts))}.")
    for name, value, allowed in (
        ("scheme", scheme, ("rolling", "leave-one-run-out")),
        ("others", others, ("smaller", "all")),
        ("on_error", on_error, ("record", "raise")),
    ):
        if value not in allowed:
            raise ArgumentError(
                f"{name}: one of {', '.join(allowed)} is expected, got {quoted(value)}."
            )
    if jobs < 1:
        raise ArgumentError(f"jobs: at least 1 process is needed, got {jobs}.")
    if min_seen < 2:
        raise ArgumentError(f"min_seen: at least 2 points must be seen, got {min_seen}.")


def _without_own_points(methods: tuple[Method, ...], asked: bool) -> tuple[Method, ...]:
    """The methods that can forecast a run of which nothing is seen; others are refused if asked."""
    own = [method.name for method in methods if method.needs_own or not method.pooled]
    if own and asked:
        raise ArgumentError(
            f"scheme: leave-one-run-out shows nothing of the run itself, which "
            f"{', '.join(own)} need; pass pooled methods."
        )
    return tuple(method for method in methods if method.name not in own)


def _wanted(table: pd.DataFrame, runs: Sequence[str] | str | None) -> tuple[str, ...]:
    """Names of the runs to be forecast, in the order of the table."""
    known = [str(run) for run in table["run"].drop_duplicates()]
    if runs is None:
        return tuple(known)
    asked = {runs} if isinstance(runs, str) else {str(run) for run in runs}
    unknown = sorted(asked - set(known))
    if unknown or not asked:
        raise ArgumentError(
            f"runs: {'no run is named' if not asked else 'no run of the table is called '}"
            f"{', '.join(map(quoted, unknown))}; there are {', '.join(known)}."
        )
    return tuple(run for run in known if run in asked)


Task = tuple[Method, Cell, int, bool]


@dataclass(frozen=True)
class Outcome:
    """What one method did on one cell: rows of the tables, and its forecast as a sample."""

    points: list[list[Any]]
    budgets: list[list[Any]]
    summary: dict[str, Any]
    sample: np.ndarray | None


def _run(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(_evaluate, tasks)
        return
    import pickle
    from concurrent.futures import ProcessPoolExecutor

    for method in {task[0].name: task[0] for task in tasks}.values():
        try:
            pickle.dumps(method)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ArgumentError(
                f"methods: {method.name!r} cannot be sent to another process ({error}); define it "
                "at the top of a module, or use jobs=1."
            ) from error
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        yield from pool.map(_evaluate, tasks)


def _evaluate(task: Task) -> Outcome:
    """Run one method on one cell."""
    method, cell, seed, throw = task
    key = zlib.crc32(f"{method.name}|{cell.run}|{cell.cut:.6f}".encode())
    generator = np.random.default_rng([seed, key])
    head = {"method": method.name, "run": cell.run, "cut": cell.cut}
    summary: dict[str, Any] = {
        **head, "n_seen": int((cell.seen["run"] == cell.run).sum()), "n_points": len(cell.tokens),
        "status": "ok", "seconds": 0.0, "fallback": None, "note": cell.note, "message": None,
    }  # fmt: skip
    started = time.perf_counter()
    try:
        forecast = method.function()(cell.seen, cell.tokens.copy(), generator)
        _check_forecast(method.name, forecast, cell)
    except Exception as error:  # a user's method may raise anything: its cell is marked failed
        if throw:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SparsefitError) else f" ({place.name}:{place.lineno})"
        summary.update(status="failed", message=f"{type(error).__name__}: {error}{where}")
        summary["seconds"] = time.perf_counter() - started
        return Outcome([], [], summary, None)
    summary["seconds"] = time.perf_counter() - started
    summary["fallback"] = forecast.fallback
    summary["note"] = "; ".join(text for text in (cell.note, forecast.note) if text) or None
    return Outcome(
        _score_points(head, cell, forecast),
        _score_budgets(head, cell, forecast),
        summary,
        forecast.observation.quantile(SAMPLE_LEVELS),
    )


def _check_forecast(name: str, forecast: Any, cell: Cell) -> None:
    if not isinstance(forecast, MethodForecast):
        raise ArgumentError(
            f"methods: {name!r} returned {type(forecast).__name__}, not a MethodForecast."
        )
    if len(forecast.tokens) != len(cell.tokens) or not np.array_equal(forecast.tokens, cell.tokens):
        raise ArgumentError(f"methods: {name!r} did not forecast at the tokens asked for.")


def _score_points(head: dict[str, Any], cell: Cell, forecast: MethodForecast) -> list[list[Any]]:
    sample, observed = forecast.observation.sample(), cell.observed
    lower50, upper50 = forecast.interval(0.5)
    lower90, upper90 = forecast.interval(0.9)
    median = forecast.median
    horizon = cell.tokens / cell.last_seen
    buckets = (
        [UNSEEN] * len(horizon)
        if np.isnan(cell.last_seen)
        else [BUCKETS[index] for index in np.searchsorted(BUCKET_ENDS, horizon)]
    )
    columns = [
        cell.tokens, horizon, buckets, observed, median, lower50, upper50, lower90, upper90,
        100 * np.abs(median - observed),
        100 * scores.crps(sample, observed),
        100 * scores.winkler(lower90, upper90, observed, 0.9),
        scores.covered(lower50, upper50, observed),
        scores.covered(lower90, upper90, observed),
        100 * (upper50 - lower50),
        100 * (upper90 - lower90),
        scores.probability_integral(sample, observed),
        forecast.level_holding(observed),
    ]  # fmt: skip
    return [[*head.values(), *values] for values in zip(*columns, strict=True)]


def _score_budgets(head: dict[str, Any], cell: Cell, forecast: MethodForecast) -> list[list[Any]]:
    """Does the band of the curve hold the target where the run truly crosses it?

    The truth is the monotone least-squares curve through the held-back points; an interval for the
    budget that inverts the band covers the true crossing exactly when this holds.
    """
    if forecast.curve is None or len(cell.tokens) < 3:
        return []
    rising = cell.observed[-1] > cell.observed[0]
    truth = scores.isotonic(cell.observed, bool(rising))
    lower, upper = forecast.curve_interval(0.9)
    rows = []
    for share in BUDGET_SHARES:
        target = truth[0] + share * (truth[-1] - truth[0])
        tokens = scores.first_crossing(cell.tokens, truth, target)
        if np.isnan(tokens):
            continue
        at = np.log(tokens), np.log(cell.tokens)
        inside = np.interp(*at, lower) <= target <= np.interp(*at, upper)
        rows.append([*head.values(), target, tokens, bool(inside)])
    return rows


def _cell_table(summaries: list[dict[str, Any]], points: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    cells = pd.DataFrame(summaries)
    keys = ["method", "run", "cut"]
    numeric = points[[*keys, *POINT_SCORES]].copy()
    for name in ("covered50", "covered90"):
        numeric[name] = numeric[name].astype(float)
    means = numeric.groupby(keys, sort=False).mean().reset_index()
    return cells.merge(means.rename(columns={"abs_error": "mae"}), on=keys, how="left")

"""Tables of checkpoints: told from tables of limits, their architectures, their last losses."""

from __future__ import annotations

import pandas as pd

from sparsefit.counts import count_text
from sparsefit.errors import Fault, TableError
from sparsefit.table import usable_rows
from sparsefit.width_depth.columns import ratio_column

# Losses are compared at one number of tokens: 1% more hardly moves a loss that is nearly flat.
_SAME_TOKENS = 0.01


def is_checkpoints(table: pd.DataFrame) -> bool:
    """Whether a table has a row per checkpoint: a column of tokens and several rows of a run."""
    return {"run", "tokens"} <= set(table.columns) and bool(table["run"].duplicated().any())


def refuse_checkpoints(table: pd.DataFrame) -> None:
    """Say what to do with a table of checkpoints: the points of the law are limits.

    Raises
    ------
    TableError
        The table has a row per checkpoint.
    """
    if is_checkpoints(table):
        raise TableError(
            [
                Fault(
                    None,
                    "tokens",
                    "a measurement table, with one row per checkpoint; one row per architecture "
                    "is wanted, with its limit",
                    "Fit it first: fits = sf.fit(table), then sf.fit_width_depth(fits, "
                    "ratios=table); for the losses sparsefit.width_depth.last_losses(table). The "
                    "command sparsefit width-depth FILE does both",
                )
            ]
        )


def ratios_of_runs(table: pd.DataFrame) -> dict[str, float]:
    """Width-depth ratio of each run of a table with one or many rows per run.

    Parameters
    ----------
    table : DataFrame
        Columns `run` and `width_depth_ratio` (or `hidden_size` and `n_layers`).

    Returns
    -------
    dict
        Run to ratio, in the order of the table.

    Raises
    ------
    TableError
        A column is missing, or a run has no architecture or several.
    """
    faults: list[Fault] = []
    if "run" not in table:
        raise TableError([Fault(None, "run", "is missing", "Add the column")])
    # The first checkpoint of a run may be a failed one, without its architecture.
    first = table.groupby("run", sort=False).first()
    for name in ("width_depth_ratio", "hidden_size", "n_layers"):
        if name not in table:
            continue
        different = table.groupby("run", sort=False)[name].nunique()
        for run in different.index[different > 1]:
            problem = f"run {str(run)!r} has several values"
            faults.append(Fault(None, name, problem, "Give each run one architecture"))
    if faults:
        raise TableError(faults)
    runs = [str(run) for run in first.index]
    values = ratio_column(first, faults)
    if faults:
        raise TableError([_of_run(fault, runs) for fault in faults])
    return dict(zip(runs, values.tolist(), strict=True))


def last_losses(table: pd.DataFrame) -> pd.DataFrame:
    """Last measured loss of each ratio, the mean over the runs that share it.

    Parameters
    ----------
    table : DataFrame
        Validated measurement table with `loss` and the architecture of each run.

    Returns
    -------
    DataFrame
        One row per ratio: `width_depth_ratio` and `loss`, as `BreakpointFit.recommend` takes them.

    Raises
    ------
    TableError
        The architecture of a run is missing, a run has no loss, or the last losses of the runs are
        more than 1% of their tokens apart, so that they cannot be compared.
    """
    ratio = ratios_of_runs(table)
    used = table[usable_rows(table, "loss")].sort_values("tokens", kind="stable")
    last = used.groupby("run").last().reindex(list(ratio))
    without = last.index[last["loss"].isna()]
    if len(without):
        remedy = "Give every run its training loss, or leave the column out"
        raise TableError([Fault(None, "loss", f"run {without[0]!r} has none", remedy)])
    tokens = last["tokens"].astype(float)
    if tokens.max() > (1 + _SAME_TOKENS) * tokens.min():
        raise TableError(
            [
                Fault(
                    None,
                    "loss",
                    f"the last losses of the runs are at {count_text(tokens.min())} (run "
                    f"{tokens.idxmin()!r}) to {count_text(tokens.max())} tokens (run "
                    f"{tokens.idxmax()!r}), and losses at different tokens cannot be compared",
                    "Train all runs to the same tokens, or give a table with one loss per ratio",
                )
            ]
        )
    last["width_depth_ratio"] = pd.Series(ratio)
    return last.groupby("width_depth_ratio")[["loss"]].mean().reset_index()


def _of_run(fault: Fault, runs: list[str]) -> Fault:
    """Name the run where a fault of a table with one row per run names the row."""
    if fault.row is None:
        return fault
    problem = f"run {runs[fault.row]!r}: {fault.problem}"
    return Fault(None, fault.column, problem, fault.remedy)

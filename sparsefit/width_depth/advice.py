"""Which width-depth ratio to train: the smallest stable one whose loss is near the best.

The loss over the ratio has a flat basin (Figure 6 of the paper) and rises steeply at very small
ratios. Every measured ratio gets a verdict: its loss exceeds the best loss by at most a tolerance
(`within`), by more (`outside`), or the standard errors leave it open (`open`). The verdicts rest
on simultaneous intervals for all differences between losses (Tukey's studentised range, simulated
for unequal standard errors), as in multiple comparisons with the best (Hsu 1984, Ann. Stat. 12,
1136-1144): choosing the best of several noisy losses does not bias them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sparsefit.checks import check_level
from sparsefit.errors import ArgumentError, Fault, TableError, quoted
from sparsefit.strict_json import plain
from sparsefit.width_depth.checkpoints import refuse_checkpoints
from sparsefit.width_depth.columns import number_column, ratio_column
from sparsefit.width_depth.intervals import Interval
from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.points import read_points
from sparsefit.width_depth.text import percent, span

if TYPE_CHECKING:
    from sparsefit.width_depth.posterior_result import PosteriorFit
    from sparsefit.width_depth.result import BreakpointFit

# One percent of perplexity, in nats: the price that CETT-PPL-1% allows for skipping neurons.
DEFAULT_TOLERANCE = float(np.log(1.01))
_DRAWS = 20000


@dataclass(frozen=True, eq=False)
class Advice:
    """The recommended ratio and what it buys.

    Attributes
    ----------
    ratio : float
        Smallest measured, stable ratio of the zone by the losses as measured.
    ratio_safe : float or None
        The same by the losses that are within the tolerance for sure (None: none is, or no
        standard errors were given).
    zone : tuple of float
        Ends of the zone; between two measured ratios by linear interpolation of the loss over the
        logarithm of the ratio.
    zone_widest : tuple of float
        Neighbouring measured ratios that are outside for sure, infinite (or 0) where there is
        none: the zone's ends cannot lie beyond them.
    best_ratio, best_loss : float
        Where the loss is smallest, and that loss (nats).
    tolerance : float
        Excess of loss allowed (nats).
    activation_ratio : Interval
        The law at `ratio`.
    saving : Interval or None
        Plateau minus the law at `ratio`.
    located : bool
        Whether the law's break was located; without it the saving has no firm ground.
    level : float
        Level of the intervals and verdicts.
    table : DataFrame
        One row per loss point: ratio, loss, se, stable, excess, excess_lower, excess_upper,
        verdict.
    notes : tuple of str
        What to know before following the advice.
    """

    ratio: float
    ratio_safe: float | None
    zone: tuple[float, float]
    zone_widest: tuple[float, float]
    best_ratio: float
    best_loss: float
    tolerance: float
    activation_ratio: Interval
    saving: Interval | None
    located: bool
    level: float
    table: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def sparsity(self) -> Interval:
        """1 - activation ratio at the recommended ratio."""
        a = self.activation_ratio
        return Interval(1 - a.estimate, 1 - a.upper, 1 - a.lower, a.level, a.kind)

    def summary(self) -> str:
        """Readable text."""
        a = self.activation_ratio
        lines = [
            f"Recommended width-depth ratio: {self.ratio:.4g}",
            f"  loss within {self.tolerance:.4g} nats of the best ({self.best_loss:.5g} at ratio "
            f"{self.best_ratio:.4g}) from {self.zone[0]:.4g} to {self.zone[1]:.4g}",
            f"  limit activation ratio {a.estimate:.4g} ({span(a.lower, a.upper)}), "
            f"sparsity {1 - a.estimate:.4g}",
        ]
        if self.saving is not None:
            lines.append(
                f"  {self.saving.estimate:.3g} less activation than on the plateau "
                f"({span(self.saving.lower, self.saving.upper)}, {percent(self.level)})"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def tidy(self) -> pd.DataFrame:
        """The verdicts, one row per loss point."""
        return self.table.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values only: strict JSON."""

        def interval(value: Interval | None) -> dict[str, float] | None:
            if value is None:
                return None
            return {"estimate": value.estimate, "lower": value.lower, "upper": value.upper}

        document = {
            "ratio": self.ratio,
            "ratio_safe": self.ratio_safe,
            "zone": self.zone,
            "zone_widest": self.zone_widest,
            "best_ratio": self.best_ratio,
            "best_loss": self.best_loss,
            "tolerance": self.tolerance,
            "activation_ratio": interval(self.activation_ratio),
            "sparsity": interval(self.sparsity),
            "saving": interval(self.saving),
            "located": self.located,
            "level": self.level,
            "notes": list(self.notes),
            "points": self.table,
        }
        return dict(plain(document))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>"

    def __repr__(self) -> str:
        low, high = self.zone
        return f"Advice(ratio={self.ratio:.4g}, zone={low:.4g} to {high:.4g})"


def recommend(
    fit: BreakpointFit | PosteriorFit, loss_points: Any, *, tolerance: float | None, level: float
) -> Advice:
    """Advise on the ratio from the fitted law and loss points.

    Parameters
    ----------
    fit : BreakpointFit or PosteriorFit
        The law.
    loss_points : DataFrame
        `width_depth_ratio` (or `hidden_size` and `n_layers`), `loss` (limit of the training loss,
        nats), optionally `se` and `stable` (whether training ran through without divergence).
    tolerance : float, optional
        Excess over the best loss that is accepted, nats; the default is one percent of perplexity.
    level : float
        Level of intervals and verdicts.

    Raises
    ------
    TableError
        For faulty loss points.
    ArgumentError
        For a tolerance below 0, a level outside (0, 1), or fewer than two stable ratios.
    """
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE
    level = check_level(level)
    number = isinstance(tolerance, int | float | np.number) and not isinstance(tolerance, bool)
    if not (number and np.isfinite(tolerance) and tolerance >= 0):
        raise ArgumentError(f"tolerance: expected nats of at least 0, got {quoted(tolerance)}")
    if not isinstance(loss_points, pd.DataFrame):
        raise ArgumentError(
            "loss_points: expected a DataFrame with the columns loss and width_depth_ratio (or "
            f"hidden_size and n_layers), one row per architecture, got {type(loss_points).__name__}"
        )
    table = _loss_table(loss_points)
    stable = table["stable"].to_numpy(dtype=bool)
    if stable.sum() < 2:
        raise ArgumentError("loss_points: fewer than two stable ratios; measure more architectures")
    _verdicts(table, stable, tolerance, level, fit.seed)
    ratio, loss = table["ratio"].to_numpy(), table["loss"].to_numpy()
    best = int(np.flatnonzero(stable)[np.argmin(loss[stable])])
    low, high = _run(stable & (table["excess"].to_numpy() <= tolerance), best)
    zone = (
        _crossing(table, low, low - 1, loss[best] + tolerance),
        _crossing(table, high, high + 1, loss[best] + tolerance),
    )
    verdict = table["verdict"].to_numpy()
    possible_low, possible_high = _run(stable & (verdict != "outside"), best)
    widest = (
        float(ratio[possible_low - 1]) if possible_low > 0 else 0.0,
        float(ratio[possible_high + 1]) if possible_high < len(ratio) - 1 else np.inf,
    )
    # Contiguous with the best: a lone good point beyond a bad one is no basin.
    sure = [i for i in range(low, high + 1) if verdict[i] == "within"]
    pick = float(ratio[low])
    band = fit.band([pick], level).iloc[0]
    saving = None if fit.plateau is None else fit.saving(pick, level)
    return Advice(
        ratio=pick,
        ratio_safe=float(ratio[sure[0]]) if sure and not np.isnan(table["se"]).all() else None,
        zone=zone,
        zone_widest=widest,
        best_ratio=float(ratio[best]),
        best_loss=float(loss[best]),
        tolerance=float(tolerance),
        activation_ratio=Interval(
            float(band["mean"]),
            float(band["curve_lower"]),
            float(band["curve_upper"]),
            level,
            str(band["kind"]),
        ),
        saving=saving,
        located=fit.located,
        level=level,
        table=table,
        notes=_notes(fit, table, low, pick),
    )


def _loss_table(points: pd.DataFrame) -> pd.DataFrame:
    points = points.reset_index(drop=True)
    refuse_checkpoints(points)
    faults: list[Fault] = []
    stable = np.ones(len(points), dtype=bool)
    if "stable" in points:
        flags = points["stable"]
        for row in range(len(points)):
            if not isinstance(flags.iloc[row], (bool, np.bool_)):
                problem = f"{quoted(flags.iloc[row])} is neither true nor false"
                faults.append(Fault(row, "stable", problem, "Give true or false"))
        if faults:
            raise TableError(faults)
        stable = flags.to_numpy(dtype=bool)
    # A run that diverged has no loss to read: only its ratio matters.
    ratio_all = ratio_column(points, faults)
    if faults:
        raise TableError(faults)
    if not stable.any():
        raise ArgumentError("loss_points: no run is marked stable")
    kept = np.flatnonzero(stable)
    try:
        read = read_points(points.iloc[kept], column="loss", fraction=False, replicates="error")
    except TableError as error:
        raise TableError(
            [
                Fault(None if f.row is None else int(kept[f.row]), f.column, f.problem, f.remedy)
                for f in error.faults
            ]
        ) from None
    rows = pd.DataFrame(
        {
            "ratio": read.ratio,
            "loss": read.value,
            "se": np.nan if read.se is None else read.se,
            "stable": True,
        }
    )
    lost = ratio_all[~stable]
    if lost.size:
        loss = (
            number_column(points, "loss", [])[~stable]
            if "loss" in points
            else np.full(lost.size, np.nan)
        )
        unstable = pd.DataFrame({"ratio": lost, "loss": loss, "se": np.nan, "stable": False})
        rows = pd.concat([rows, unstable], ignore_index=True)
    return rows.sort_values("ratio", kind="stable", ignore_index=True)


def _verdicts(
    table: pd.DataFrame, stable: np.ndarray, tolerance: float, level: float, seed: int
) -> None:
    """Add excess, its simultaneous interval and the verdict to the table."""
    loss = table["loss"].to_numpy()[stable]
    se = table["se"].to_numpy()[stable]
    excess = loss - loss.min()
    known = bool(np.all(np.isfinite(se)))
    lower, upper = excess.copy(), excess.copy()
    if known:
        lower, upper = excess_intervals(loss, se, level, seed)
    columns = {
        "excess": excess,
        "excess_lower": lower if known else np.full_like(excess, np.nan),
        "excess_upper": upper if known else np.full_like(excess, np.nan),
    }
    for name, values in columns.items():
        full = np.full(len(table), np.nan)
        full[stable] = values
        table[name] = full
    verdict = np.full(len(table), "unstable", dtype=object)
    verdict[stable] = np.where(
        upper <= tolerance, "within", np.where(lower > tolerance, "outside", "open")
    )
    table["verdict"] = verdict


def excess_intervals(loss: Array, se: Array, level: float, seed: int) -> tuple[Array, Array]:
    """Simultaneous intervals of each loss's excess over the smallest true loss, shape (n,)."""
    noise = np.random.default_rng(seed).standard_normal((_DRAWS, len(loss))) * se
    pair = np.sqrt(se[:, None] ** 2 + se[None, :] ** 2)
    largest = np.zeros(_DRAWS)
    for i in range(len(loss)):
        for j in range(i):
            np.maximum(largest, np.abs(noise[:, i] - noise[:, j]) / pair[i, j], out=largest)
    half = float(np.quantile(largest, level)) * pair
    np.fill_diagonal(half, 0.0)
    difference = loss[:, None] - loss[None, :]
    return np.max(difference - half, axis=1), np.max(difference + half, axis=1)


def _run(member: np.ndarray, start: int) -> tuple[int, int]:
    """Contiguous stretch of members around a member."""
    low = high = start
    while low > 0 and member[low - 1]:
        low -= 1
    while high < len(member) - 1 and member[high + 1]:
        high += 1
    return low, high


def _crossing(table: pd.DataFrame, inside: int, outside: int, loss_at: float) -> float:
    """Ratio at which the interpolated loss reaches the tolerance; the last point at an end."""
    ratio, loss = table["ratio"].to_numpy(), table["loss"].to_numpy()
    if not 0 <= outside < len(ratio) or not table["stable"].iloc[outside]:
        return float(ratio[inside])
    share = (loss_at - loss[inside]) / (loss[outside] - loss[inside])
    return float(ratio[inside] * (ratio[outside] / ratio[inside]) ** share)


def _notes(
    fit: BreakpointFit | PosteriorFit, table: pd.DataFrame, low: int, pick: float
) -> tuple[str, ...]:
    notes = []
    if not fit.located:
        notes.append(fit.status)
    if table["se"].isna().all():
        notes.append("no standard errors of the loss: the zone is read off the points as they are")
    elif table["verdict"].iloc[low] == "open":
        notes.append(
            "the standard errors leave open whether the loss at this ratio is within the tolerance"
        )
    if low == 0:
        notes.append("no smaller ratio was measured: the zone may reach further down")
    x = fit.points.ratio
    if not x[0] <= pick <= x[-1]:
        notes.append(
            f"the limits were measured from ratio {x[0]:.4g} to {x[-1]:.4g} only: "
            "the law is extrapolated"
        )
    return tuple(notes)

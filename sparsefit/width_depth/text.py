"""Text, HTML and plain dictionaries of a fitted law."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from sparsefit.strict_json import plain

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.width_depth.intervals import Method, Placement
    from sparsefit.width_depth.posterior_result import PosteriorFit
    from sparsefit.width_depth.result import BreakpointFit


def percent(level: float) -> str:
    """A level as text, not rounded: 97.5%."""
    return f"{100 * level:g}%"


def span(lower: float, upper: float) -> str:
    """An interval as text; unbounded ends in words."""
    if not math.isfinite(lower) and not math.isfinite(upper):
        return "not bounded"
    if not math.isfinite(upper):
        return f"above {lower:.4g}, no upper bound"
    if not math.isfinite(lower):
        return f"below {upper:.4g}, no lower bound"
    return f"{lower:.4g} to {upper:.4g}"


def layout(
    fit: BreakpointFit | PosteriorFit, table: pd.DataFrame, placement: Placement, tail: list[str]
) -> str:
    """Readable text of a fit around its table of intervals."""
    names = {"line_plateau": "line, then level", "line_line": "line, then line"}
    x = fit.points.ratio
    lines = [
        f"Width-depth law ({names[fit.model]}): {len(x)} points, ratios {x[0]:.4g} to {x[-1]:.4g}",
        placement.reason[0].upper() + placement.reason[1:] + ".",
        fit.break_test().summary(),
        "",
        f"{'':<12}{'estimate':>12}  {percent(placement.level)} interval",
    ]
    for name, row in table.iterrows():
        interval = span(row["lower"], row["upper"])
        lines.append(f"{name:<12}{row['estimate']:>12.5g}  {interval}")
    if not placement.located:
        lines.append("Without a located break, slope and plateau do not describe two regimes.")
    left = [f"left out: {why}" for why in fit.points.left_out.values()]
    return "\n".join([*lines, "", *tail, *left])


def summary(fit: BreakpointFit, level: float, method: Method) -> str:
    """Readable text of a least-squares fit."""
    table = fit.conf_int(level, method=method)
    tail = [f"Intervals: {table['kind'].iloc[0]}, {fit.draws} samples, seed {fit.seed}."]
    if fit.scatter is None:
        tail.append(f"Residual standard deviation {fit.sigma:.3g} (no standard errors given).")
    else:
        tail.append(f"Scatter beyond the standard errors {fit.scatter:.3g}.")
    return layout(fit, table, fit.placement(level, method=method), tail)


def common_glance(fit: BreakpointFit | PosteriorFit, placement: Placement) -> dict[str, Any]:
    """What every kind of fit has to say in one row."""
    return {
        "model": fit.model,
        "n_points": len(fit.points.ratio),
        "n_left_out": len(fit.points.left_out),
        "breakpoint": fit.breakpoint,
        "breakpoint_lower": placement.lower,
        "breakpoint_upper": placement.upper,
        "located": placement.located,
        "status": placement.reason,
    }


def common_dict(
    fit: BreakpointFit | PosteriorFit, table: pd.DataFrame, placement: Placement
) -> dict[str, Any]:
    """Values that every kind of fit has, infinite ends among them."""
    parameters = {
        str(name): {key: float(row[key]) for key in ("estimate", "lower", "upper")}
        for name, row in table.iterrows()
    }
    return {
        "model": fit.model,
        "n_points": len(fit.points.ratio),
        "left_out": dict(fit.points.left_out),
        "located": placement.located,
        "status": placement.reason,
        "level": placement.level,
        "kind": str(table["kind"].iloc[0]),
        "breakpoint": fit.breakpoint,
        "slope": fit.slope,
        "intercept": fit.intercept,
        "plateau": fit.plateau,
        "parameters": parameters,
    }


def as_dict(fit: BreakpointFit, level: float, method: Method) -> dict[str, Any]:
    """Plain values of a least-squares fit."""
    table = fit.conf_int(level, method=method)
    test = fit.break_test()
    document = {
        **common_dict(fit, table, fit.placement(level, method=method)),
        "sign": fit.sign,
        "slope_after": fit.slope_after,
        "break_test": {
            "null": test.null,
            "alternative": test.alternative,
            "over": test.over,
            "statistic": test.statistic,
            "p_value": test.p_value,
            "draws": test.draws,
        },
        "sigma": fit.sigma,
        "scatter": fit.scatter,
        "draws": fit.draws,
        "seed": fit.seed,
    }
    return dict(plain(document))


def as_html(fit: BreakpointFit | PosteriorFit) -> str:
    """HTML for notebooks."""
    table = fit.conf_int()
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{row['estimate']:.5g}</td>"
        f"<td>{escape(span(row['lower'], row['upper']))}</td></tr>"
        for name, row in table.iterrows()
    )
    left = "".join(f"<li>left out: {escape(why)}</li>" for why in fit.points.left_out.values())
    return (
        f"<p><b>Width-depth law</b> ({escape(fit.model)}, {len(fit.points.ratio)} points): "
        f"{escape(fit.status)}.</p><table><thead><tr><th></th><th>estimate</th>"
        f"<th>90% interval</th></tr></thead><tbody>{rows}</tbody></table>"
        + (f"<ul>{left}</ul>" if left else "")
    )

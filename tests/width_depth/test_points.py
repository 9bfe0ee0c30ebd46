"""Which points fit_width_depth reads from tables and from fits."""

from __future__ import annotations

from html import unescape
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, FitError, TableError
from sparsefit.results.estimates import Limit, identification
from sparsefit.results.fits import Fits


def _fit_like(lower: float, upper: float, misfit: bool = False) -> SimpleNamespace:
    """A fit as far as the width-depth law looks at it."""

    def limit(level: float = 0.9) -> Limit:
        middle = 0.5 * (lower + upper)
        bounds = (0.0, 1.0)
        found = identification(lower, upper, bounds)
        kind, response = "posterior", "activation_ratio"
        return Limit(middle, lower, upper, found, level, kind, response, bounds)

    return SimpleNamespace(limit=limit, misfit=misfit)


@pytest.fixture
def nine_fits(simulated) -> tuple[dict[str, SimpleNamespace], dict[str, float]]:
    table = simulated()
    fits = {f"r{i}": _fit_like(v - 1e-3, v + 1e-3) for i, v in enumerate(table["limit"])}
    return fits, {f"r{i}": v for i, v in enumerate(table["width_depth_ratio"])}


def test_fits_with_limits_are_accepted(nine_fits) -> None:
    fits, ratios = nine_fits
    fit = sf.fit_width_depth(fits, ratios=ratios)
    assert fit.points.label[0] == "r0" and fit.points.left_out == {}
    assert fit.points.se == pytest.approx(np.full(9, 1e-3 / 1.6448536269))
    runs = pd.DataFrame({"run": list(ratios), "width_depth_ratio": list(ratios.values())})
    assert sf.fit_width_depth(fits, ratios=runs).breakpoint == fit.breakpoint
    with pytest.raises(ArgumentError, match="ratios"):
        sf.fit_width_depth(fits)
    with pytest.raises(TableError, match="'r3' has no architecture"):
        sf.fit_width_depth(fits, ratios={k: v for k, v in ratios.items() if k != "r3"})
    with pytest.raises(ArgumentError, match="ratio of run 'r3' must be finite and > 0, got '74'"):
        sf.fit_width_depth(fits, ratios={**ratios, "r3": "74"})
    with pytest.raises(TableError, match="limit of run 'r3' has no width"):
        sf.fit_width_depth({**fits, "r3": _fit_like(0.07, 0.07)}, ratios=ratios)
    with pytest.raises(ArgumentError, match="run 'r3' is of type int"):
        sf.fit_width_depth({**fits, "r3": 3}, ratios=ratios)
    twice = pd.concat([runs, runs.iloc[3:4].assign(width_depth_ratio=75.0)], ignore_index=True)
    with pytest.raises(TableError, match="run 'r3' has several values"):
        sf.fit_width_depth(fits, ratios=twice)


def test_limits_that_are_not_identified_are_left_out_and_named(nine_fits) -> None:
    fits, ratios = nine_fits
    fits |= {
        "open": _fit_like(0.0, 0.09),
        "at one": _fit_like(0.3, 1.0),
        "wrong": _fit_like(0.0, 1.0, misfit=True),
    }
    ratios |= {"open": 300.0, "at one": 310.0}  # what is left out needs no architecture
    fit = sf.fit_width_depth(
        Fits(fits, {"short": "run 'short' has 3 usable points"}), ratios=ratios
    )
    assert fit.points.label == tuple(f"r{i}" for i in range(9))
    assert list(fit.points.left_out) == ["short", "open", "at one", "wrong"]
    said = [
        "left out: run 'short' has 3 usable points",
        "left out: run 'open': The limit is one-sided: these data bound it only above, by 0.0900",
        "left out: run 'at one': The limit is one-sided: these data bound it only below, by 0.3000",
        "left out: run 'wrong': The limit is not identified by these data (90% posterior interval)."
        " Its points go against its law.",
    ]
    for words in said:
        assert words in fit.summary()
        assert words in unescape(fit._repr_html_())
    assert fit.to_dict()["left_out"] == dict(fit.points.left_out)


def test_too_few_identified_limits_are_refused_with_the_reason(nine_fits) -> None:
    fits, ratios = nine_fits
    opened = {run: _fit_like(0.0, 0.09) for run in list(fits)[:5]}
    with pytest.raises(
        FitError, match=r"^4 distinct .* Left out: run 'r0': The limit is one-sided"
    ):
        sf.fit_width_depth({**fits, **opened}, ratios=ratios)
    with pytest.raises(FitError, match=r"^no run has a limit to use\. Left out: run 'r0': .* 'r4'"):
        sf.fit_width_depth(opened, ratios=ratios)
    with pytest.raises(FitError, match=r"Left out: too short\. Left out: run 'r0': .*\)\.$"):
        sf.fit_width_depth(Fits({"r0": opened["r0"]}, {"short": "too short"}), ratios=ratios)


def test_every_fault_is_listed(simulated) -> None:
    table = simulated(se=1e-3).astype(object)
    table.loc[0, "width_depth_ratio"] = -20.0
    table.loc[1, "limit"] = 5.7
    table.loc[2, "limit"] = "many"
    table.loc[3, "se"] = 0.0
    table.loc[5, "width_depth_ratio"] = table.loc[4, "width_depth_ratio"]
    with pytest.raises(TableError) as caught:
        sf.fit_width_depth(table)
    found = {(f.row, f.column) for f in caught.value.faults}
    assert found == {
        (0, "width_depth_ratio"),
        (1, "limit"),
        (2, "limit"),
        (3, "se"),
        (5, "width_depth_ratio"),
    }


def test_replicates_are_kept_on_purpose_only(simulated) -> None:
    twice = pd.concat([simulated(seed=1), simulated(seed=2)])
    with pytest.raises(TableError, match="already in row"):
        sf.fit_width_depth(twice)
    fit = sf.fit_width_depth(twice, replicates="keep")
    assert len(fit.points.ratio) == 18
    assert fit.breakpoint == pytest.approx(114, rel=0.1)


def test_a_table_that_says_which_limits_are_identified_is_believed(simulated) -> None:
    table = simulated(se=1e-3).assign(run=[f"r{i}" for i in range(9)], identified="yes")
    extra = pd.DataFrame(
        {
            "run": ["open", "short"],
            "width_depth_ratio": [300.0, 20.0],
            "limit": [0.05, np.nan],
            "identified": ["one-sided", "no fit"],
        }
    )
    known = sf.fit_width_depth(table, draws=99)
    fit = sf.fit_width_depth(pd.concat([table, extra], ignore_index=True), draws=99)
    assert fit.points.label == known.points.label
    assert fit.breakpoint == known.breakpoint
    assert list(fit.points.left_out) == ["open", "short"]
    words = "run 'open': its limit is not identified (the table says 'one-sided')"
    assert f"left out: {words}" in fit.summary()
    with pytest.raises(FitError, match=r"no run has a limit to use\. Left out: run 'r0'"):
        sf.fit_width_depth(table.assign(identified="no"))
    with pytest.raises(TableError, match="row 9, column 'limit'"):
        sf.fit_width_depth(pd.concat([table, extra.iloc[1:].assign(identified="yes")]))

"""A thousand bad tables: a typed error, or a fit that stays inside the physical range.

Never a traceback of a library, never a row that is lost without a word.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import sparsefit as sf
from sparsefit.errors import FitError, SparsefitError, TableError

CELLS = st.sampled_from(
    [
        None,
        math.nan,
        math.inf,
        -math.inf,
        0,
        -1,
        1.5,
        9.5,
        1e300,
        True,
        "x",
        "0.1",
        "8%",
        1j,
        b"x",
        {},
        np.float64(0.0),
        np.float32(1.5),
        np.int64(-1),
        np.str_("x"),
    ]
)
KINDS = ["falling", "rising", "constant", "noise", "outlier", "steps", "at one", "tiny", "warm-up"]


@st.composite
def series(draw: st.DrawFn, run: str = "a") -> pd.DataFrame:
    """One run, well formed, though hardly any law describes some of them."""
    points = draw(st.sampled_from([2, 5, 6, 7, 9, 12, 15, 20]))
    start = draw(st.sampled_from([1e4, 1e6, 1e9, 1e12]))
    spaced = draw(st.booleans())
    tokens = start * (np.arange(1, points + 1) if spaced else np.geomspace(1, 60, points))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    noise = draw(st.sampled_from([0.0, 1e-9, 1e-3, 0.02])) * rng.standard_normal(points)
    age = np.arange(points) / points
    kind = draw(st.sampled_from(KINDS))
    ratio = {
        "falling": 0.07 + 0.1 * np.exp(-3 * age),
        "rising": 0.4 - 0.1 / (1 + 5 * age),
        "constant": np.full(points, 0.1),
        "noise": rng.uniform(0.01, 0.99, points),
        "outlier": np.where(np.arange(points) == points // 2, 1.0, 0.08 - 0.01 * age),
        "steps": np.where(age < 0.5, 0.2, 0.1),
        "at one": 1.0 - 1e-12 * np.arange(points),
        "tiny": 1e-9 * (1.1 - age),
        "warm-up": 0.1 + 0.05 * np.sin(6 * age),
    }[kind]
    if kind not in ("constant", "at one", "tiny"):
        ratio = np.clip(ratio + noise, 1e-6, 1.0)
    table = pd.DataFrame({"run": run, "tokens": tokens, "activation_ratio": ratio})
    extras = {
        "activation": st.sampled_from(["relu", "silu", "gelu", "mish"]),
        "n_params": st.sampled_from([1e4, 1e8, 1e12]),
        "se": st.sampled_from([0.0, 1e-12, 1e-3, 0.9]),
        "se_shared": st.sampled_from([0.0, 0.01]),
    }
    for name in draw(st.lists(st.sampled_from(sorted(extras)), unique=True, max_size=2)):
        table[name] = draw(extras[name])
    if draw(st.integers(0, 9)) == 0:
        table["status"] = "ok"
        table.loc[table.index[-1], ["status", "activation_ratio"]] = ["failed", None]
    return table


DAMAGE = [
    "nothing",
    "cell",
    "cell",
    "drop",
    "rename",
    "percent",
    "billions",
    "repeat",
    "type",
    "join",
]


@st.composite
def bad_tables(draw: st.DrawFn) -> pd.DataFrame:
    """A series after up to two accidents."""
    table = draw(series())
    for _ in range(draw(st.integers(1, 2))):
        damage = draw(st.sampled_from(DAMAGE))
        name = draw(st.sampled_from(list(table.columns)))
        if damage == "cell":
            cells = table[name].astype(object).tolist()
            cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
            table[name] = pd.Series(cells, index=table.index, dtype=object)
        elif damage == "drop":
            table = table.drop(columns=name) if len(table.columns) > 1 else table
        elif damage == "rename":
            table = table.rename(columns={name: name.title()})
        elif damage in ("percent", "billions"):
            name, factor = ("activation_ratio", 100) if damage == "percent" else ("tokens", 1e-9)
            if name in table and table[name].dtype.kind in "iuf":
                table[name] *= factor
        elif damage == "repeat":
            table = pd.concat([table, table[-1:]])
        elif damage == "type":
            kind = draw(st.sampled_from(["str", "object", "category"]))
            # pandas cannot make a category of a list or a dictionary that "cell" put there.
            if kind == "category" and any(isinstance(v, (list, dict)) for v in table[name]):
                kind = "object"
            table[name] = table[name].astype(kind)
        elif damage == "join":
            table = pd.concat([table, draw(series("b"))], ignore_index=True)
    return table


def check_fit(fit: sf.Fit, table: pd.DataFrame) -> None:
    rows = table[table["run"].astype(str) == fit.run]
    assert len(fit.frame) == len(rows)
    failed = int((rows["status"] == "failed").sum()) if "status" in rows else 0
    assert len(fit.points) == len(rows) - failed
    if failed:
        assert any("failed" in note for note in fit.notes)

    bounds = np.array([[p.lower, p.upper] for p in fit.law.parameters])
    params = fit.params.to_numpy()
    assert np.isfinite(params).all()
    assert ((params >= bounds[:, 0]) & (params <= bounds[:, 1])).all()
    ends = fit.conf_int().to_numpy()
    assert not np.isnan(ends).any()
    assert (ends[:, 0] <= ends[:, 1]).all()
    assert ((ends[:, 0] >= bounds[:, 0]) & (ends[:, 1] <= bounds[:, 1])).all()

    limit = fit.limit()
    assert 0 <= limit.lower <= limit.upper <= 1
    assert 0 <= limit.estimate <= 1
    assert limit.identified in ("yes", "one-sided", "no")

    last = float(fit.tokens[-1])
    inside = fit.predict(fit.tokens)
    assert np.isfinite(inside).all()
    tokens = np.array([fit.tokens[0], last, 3 * last, 30 * last])
    bands = fit.forecast(tokens)
    assert np.isfinite(bands.to_numpy()).all()
    assert (bands["obs_lower"] <= bands["curve_lower"]).all()
    assert (bands["curve_lower"] <= bands["median"]).all()
    assert (bands["median"] <= bands["curve_upper"]).all()
    assert (bands["curve_upper"] <= bands["obs_upper"]).all()
    seen = bands[["obs_lower", "obs_upper"]].to_numpy()
    assert ((seen >= 0) & (seen <= 1)).all()

    budget = fit.tokens_to(activation_ratio=0.075)
    assert budget.status in ("reached", "reachable", "unreachable", "undetermined")
    if not (math.isnan(budget.lower) or math.isnan(budget.upper)):
        assert 0 <= budget.lower <= budget.upper
    slopes = fit.derivative(tokens, wrt="log_tokens")
    assert np.isfinite(slopes.to_numpy(dtype=float)).all()
    assert (slopes["lower"] <= slopes["upper"]).all()
    fit.to_json()
    assert fit.run in fit.summary()


def check_table(table: pd.DataFrame) -> str:
    before = table.copy()
    try:
        result = sf.fit(table)
    except SparsefitError as error:
        assert isinstance(error, TableError | FitError)
        assert len(str(error)) > 20
        assert "np." not in str(error)
        return type(error).__name__
    finally:
        pd.testing.assert_frame_equal(table, before)
    fits = [result] if isinstance(result, sf.Fit) else list(result.values())
    assert sum(len(fit.frame) for fit in fits) == len(table)
    for fit in fits:
        check_fit(fit, table)
    return "Fit"


OPTIONS = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@settings(max_examples=950, **OPTIONS)  # type: ignore[arg-type]
@given(bad_tables())
def test_damaged_tables(table: pd.DataFrame) -> None:
    check_table(table)


@settings(max_examples=50, **OPTIONS)  # type: ignore[arg-type]
@given(series())
def test_hard_series(table: pd.DataFrame) -> None:
    check_table(table)


def test_a_run_whose_checkpoints_all_failed_is_named() -> None:
    """Its column of standard errors is empty, which is no reason for a warning of numpy's."""
    table = pd.DataFrame(
        {
            "run": ["a"] * 2 + ["b"] * 8,
            "tokens": np.r_[[1e9, 2e9], np.arange(1, 9) * 1e9],
            "activation_ratio": np.r_[[np.nan] * 2, 0.1 + 0.1 / np.arange(1, 9)],
            "activation": "relu",
            "se": 0.001,
            "status": ["failed"] * 2 + ["ok"] * 8,
        }
    )
    check_table(table)

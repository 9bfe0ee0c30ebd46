"""Runs whose points lie close together in tokens: the end of a log, a continued run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf


def narrow_run(activation: str, seed: int, exponent: float, points: int) -> pd.DataFrame:
    """Points from 900B to 1000B tokens of a curve with .02 still to come, noise 3e-4."""
    rng = np.random.default_rng(seed)
    d = np.linspace(900.0, 1000.0, points)
    left = 0.02 * (d / 1000.0) ** -exponent
    values = 0.4 - left if activation == "silu" else 0.1 + left
    return pd.DataFrame(
        {
            "run": "narrow",
            "tokens": d * 1e9,
            "activation_ratio": values + 3e-4 * rng.normal(size=points),
            "activation": activation,
        }
    )


@pytest.mark.parametrize(("exponent", "points"), [(0.15, 12), (0.5, 7)])
def test_a_rising_run_seen_over_a_tenth_of_its_tokens_does_not_tell_its_limit(exponent, points):
    """Limits near the last value looked likely: intervals covered .6, half of them called "yes"."""
    limits = [sf.fit(narrow_run("silu", seed, exponent, points)).limit() for seed in range(20)]
    assert np.mean([limit.lower <= 0.4 <= limit.upper for limit in limits]) >= 0.85
    assert np.mean([limit.upper == 1.0 for limit in limits]) >= 0.85


def test_a_flat_falling_run_is_fitted():
    """Levenberg-Marquardt met finite residuals whose squares overflow, and lmfit raised."""
    values = [
        0.12015897279655167, 0.12061168873701693, 0.11979846812549405, 0.1203789202177918,
        0.12041526399463486, 0.12000360886758596, 0.11984035259818895, 0.12027543034724646,
        0.11987782018103427, 0.11979404061463218, 0.12002802181567514, 0.11967128504364843,
    ]  # fmt: skip
    d = np.linspace(900.0, 1000.0, 12)
    table = pd.DataFrame({"run": "a", "tokens": d * 1e9, "activation_ratio": values})
    fit = sf.fit(table.assign(activation="relu"))
    assert np.isfinite(fit.params).all()
    limit = fit.limit()
    assert 0.0 <= limit.lower <= limit.estimate <= limit.upper <= 1.0

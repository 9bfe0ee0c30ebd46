"""The note on first points of an early transient that decays into the law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.misfit import leaves_at_the_start
from sparsefit.estimation.points import Points

LAWS = {"eq4": (0.5, -2.2, 0.6, 0.07), "eq5": (0.7, 0.08, 0.39)}


def noted(fit: sf.Fit) -> bool:
    return any("decays into the law" in note for note in fit.notes)


@pytest.mark.parametrize("law", LAWS)
def test_runs_that_follow_their_law_get_no_note(
    simulated_run: Callable[..., pd.DataFrame], law: str
) -> None:
    """Eight runs with independent residuals: such runs mostly had the note before."""
    fits = [sf.fit(simulated_run(law=law, theta=LAWS[law], seed=seed, n=35)) for seed in range(8)]
    assert sum(map(noted, fits)) <= 1
    # Intervals allow for a departure all the same.
    assert max(fit.averaged.transient_weight for fit in fits) > 0.1


def test_a_start_off_the_law_is_noted_on_a_measured_run() -> None:
    table = sf.datasets.load("reference_scales_repeated")
    fit = sf.fit(table[table["run"] == "0.26m_relu_s2"])
    assert fit.n_warmup == 1
    (note,) = [note for note in fit.notes if "decays into the law" in note]
    assert note.endswith("least-squares coefficients only through the points set aside")


@pytest.mark.parametrize("law", LAWS)
def test_false_alarms_of_the_test_are_as_rare_as_it_says(law: str) -> None:
    """150 runs with independent residuals at level 1%: more than 6 have probability .001."""
    chosen = laws.get(law)
    d = np.linspace(1.0, 30.0, 50)
    rng = np.random.default_rng(1)
    curve = chosen.value(d, np.array(LAWS[law]))

    def alarm(start: float) -> bool:
        fading = start * np.exp(-np.arange(d.size) / 2.0)
        points = Points(d, curve + fading + 3e-4 * rng.standard_normal(d.size))
        return leaves_at_the_start(chosen, points, fit_least_squares(chosen, points))

    assert sum(alarm(0.0) for _ in range(150)) <= 6
    # Sixty noise scales: Eq. 4 bends into most of a smaller one.
    assert sum(alarm(2e-2) for _ in range(20)) >= 14

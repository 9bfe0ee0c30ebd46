"""Published examples of R's segmented and of piecewise-regression.

The values of segmented were printed by segmented 1.6-2 (R 4.2) on the data in
`segmented_examples.json`; those of piecewise-regression 1.5.0 are its README's example, and are
also compared live where the package is installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sparsefit.width_depth import fit_segmented
from sparsefit.width_depth.variants import compare_variants

DATA = json.loads((Path(__file__).parent / "segmented_examples.json").read_text())


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array(DATA[name]["x"]), np.array(DATA[name]["y"])


# estimate and standard error as printed by segmented
SEGMENTED = [
    (
        "stagnant",
        "line_line",
        {
            "breakpoint": (0.0411057860454, 0.0228348067567),
            "slope": (-0.4220768148, 0.01148730657),
            "slope_after": (-1.0205675460, 0.01506793866),
        },
        0.00914019723209,
    ),
    (
        "plant_rkv",
        "line_line",
        {
            "breakpoint": (383.765138319, 8.23475588386),
            "slope": (0.0022327336720, 1.014191565e-04),
            "slope_after": (-0.0003638978365, 8.164384523e-05),
        },
        0.0279197890991,
    ),
    (
        # lm(y ~ 1) with seg.Z = ~ -time: the documented way to a level segment.
        "plant_rkv",
        "line_plateau",
        {
            "breakpoint": (347.085346551, 8.63799713938),
            "slope": (0.002365733788, 0.0001455737793),
            "plateau": (0.91263157898847, 0.00898923003855),
        },
        0.044524247434,
    ),
    (
        "example",
        "line_line",
        {
            "breakpoint": (23.7992280636, 3.73083640297),
            "slope": (-0.05191956181, 0.22564707510),
            "slope_after": (0.87561956260, 0.03680536488),
        },
        4946.649766,
    ),
]


@pytest.mark.parametrize(("name", "model", "expected", "deviance"), SEGMENTED)
def test_segmented_with_one_break(name, model, expected, deviance) -> None:
    x, y = arrays(name)
    fit = fit_segmented(x, y, model=model, draws=99)
    assert np.sum((y - fit.predict(x)) ** 2) <= deviance * (1 + 1e-7)
    table = fit.wald()
    for parameter, (estimate, error) in expected.items():
        assert table.loc[parameter, "estimate"] == pytest.approx(estimate, rel=1e-4), parameter
        assert table.loc[parameter, "std_error"] == pytest.approx(error, rel=1e-3), parameter


def test_segmented_with_two_breaks() -> None:
    x, y = arrays("example")
    row = compare_variants(x, y, None).loc["two_breaks"]
    assert row["breaks"] == pytest.approx((32.5948828513, 71.9338014111), rel=1e-4)
    assert row["break_errors"] == pytest.approx((1.05127596585, 1.01617426277), rel=1e-3)
    # segmented's deviance, through the Gaussian likelihood.
    deviance = 100 * np.exp(-2 * row["log_likelihood"] / 100 - 1) / (2 * np.pi)
    assert deviance == pytest.approx(989.052499629, rel=1e-6)


def readme_example() -> tuple[np.ndarray, np.ndarray]:
    # The README seeds numpy's old global generator; RandomState(0) is the same stream.
    noise = np.random.RandomState(0).normal(size=200)
    x = np.linspace(0, 20, 200)
    return x, 100 - 4 * x + 2 * np.maximum(x - 7, 0) + noise


def test_piecewise_regression_readme() -> None:
    x, y = readme_example()
    table = fit_segmented(x, y, draws=99).wald()
    expected = {
        "intercept": (100.726, 0.244),
        "slope": (-4.21998, 0.0653),
        "slope_change": (2.18914, 0.0689),
        "breakpoint": (6.48706, 0.137),
        "slope_after": (-2.03084, 0.0218),
    }
    for parameter, (estimate, error) in expected.items():
        assert table.loc[parameter, "estimate"] == pytest.approx(estimate, rel=1e-4)
        assert table.loc[parameter, "std_error"] == pytest.approx(error, rel=0.005)


def test_piecewise_regression_live() -> None:
    package = pytest.importorskip("piecewise_regression")
    x, y = readme_example()
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(1)  # noqa: NPY002  the package draws its restarts from the global generator
        theirs = package.Fit(x, y, n_breakpoints=1, start_values=[5])
    finally:
        np.random.set_state(state)  # noqa: NPY002
    estimates = theirs.get_results()["estimates"]
    ours = fit_segmented(x, y, draws=99).wald()
    for their_name, our_name in (
        ("breakpoint1", "breakpoint"),
        ("alpha1", "slope"),
        ("alpha2", "slope_after"),
    ):
        estimate, error = estimates[their_name]["estimate"], estimates[their_name]["se"]
        assert ours.loc[our_name, "estimate"] == pytest.approx(estimate, rel=1e-3)
        assert ours.loc[our_name, "std_error"] == pytest.approx(error, rel=0.01)

"""Standard errors: by repetition, and their split into own and shared."""

from __future__ import annotations

import numpy as np
import pytest

from sparsefit.collectors import EvaluationText, Settings, find_checkpoints, measure_run
from sparsefit.collectors.tables import NoErrorWarning, usable_errors
from sparsefit.collectors.uncertainty import (
    Influence,
    influence,
    split_errors,
    standard_error,
    target_influence,
)

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cett_ppl", pytest.param("cett", marks=pytest.mark.long)])
def test_spread_over_thirty_samples_is_what_is_reported(trained_run, markov, metric) -> None:
    """Disjoint samples of randomly assigned sequences (30 of 32 windows of 32 tokens)."""
    samples, windows = 30, 32
    tokens = markov(samples * windows * 32, seed=21).reshape(-1, 32)
    order = np.random.default_rng(0).permutation(samples * windows)
    last = find_checkpoints(trained_run)[-1:]
    settings = Settings() if metric == "cett_ppl" else Settings(metric="cett", cett=0.15)
    ratios, errors = [], []
    for sample in range(samples):
        rows = tokens[order[sample * windows : (sample + 1) * windows]]
        text = EvaluationText(rows, np.ones_like(rows, dtype=bool))
        row = measure_run(last, text, settings=settings).table.iloc[0]
        ratios.append(row["activation_ratio"])
        errors.append(np.hypot(row["se"], row["se_shared"]))
    print(f"{metric}: spread {np.std(ratios, ddof=1):.5f}, mean error {np.mean(errors):.5f}")
    # 30 values give the spread itself a relative error of 13%.
    assert np.std(ratios, ddof=1) == pytest.approx(np.mean(errors), rel=0.3)


def test_a_mean_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(size=50)
    share = np.full(50, 1 / 50)
    assert standard_error(share * (values - values.mean())) == pytest.approx(
        values.std(ddof=1) / np.sqrt(50)
    )
    assert np.isnan(standard_error(np.zeros(1)))


def test_influences_are_derivatives() -> None:
    """Against a toy measurement solved anew with one window weighted a little more."""
    rng = np.random.default_rng(1)
    windows, layers = 12, 3
    level = rng.uniform(0.8, 1.2, (windows, layers))
    power = np.array([0.7, 1.0, 1.4])
    activity = rng.uniform(0.2, 0.4, (windows, layers))
    fall = np.array([-0.10, -0.06, -0.03])
    strength = rng.uniform(0.5, 1.5, windows)

    def solve(weights: np.ndarray) -> float:
        share = weights / weights.sum()

        def at(log_cett: float) -> tuple[float, float]:
            # CETT of window j and layer l: level * eps ** power.
            log_eps = (log_cett - np.log(share @ level)) / power
            ratio = (share @ activity + fall * log_eps).mean()
            # Every layer's threshold adds to the loss in proportion to its CETT's logarithm.
            loss = np.log(share @ strength) + (2 * (power * log_eps)).mean()
            return ratio, loss

        low, high = -9.0, 9.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if at(middle)[1] < 0 else (low, middle)
        return at(low)[0]

    base = np.ones(windows)
    share = base / windows
    log_cett = (np.log(share @ level)).mean() - np.log(share @ strength) / 2
    item = influence(
        window_tokens=base,
        active=activity + fall * (log_cett - np.log(share @ level)) / power,
        predicted=base,
        loss_difference=strength / (share @ strength),
        relative_cett=level / (share @ level),
        curve_slope=power,
        active_slope=fall,
        loss_slope=2.0,
    )
    total = item.ratio + item.ratio_slope * target_influence([item], [0.0], 2.0)
    step = 1e-5
    for window in range(windows):
        heavier = base.copy()
        heavier[window] += step
        numeric = (solve(heavier) - solve(base)) / step
        assert total[window] == pytest.approx(numeric, rel=1e-3, abs=1e-6)


def test_split_adds_up_and_finds_what_is_common() -> None:
    rng = np.random.default_rng(2)
    common = rng.normal(size=400)
    parts = [common + 0.1 * rng.normal(size=400) for _ in range(6)]
    for values, (own, shared) in zip(parts, split_errors(parts), strict=True):
        assert np.hypot(own, shared) == pytest.approx(standard_error(values), rel=1e-9)
        assert shared > 5 * own
    ((own, shared),) = split_errors([common])
    assert shared == 0
    assert own == standard_error(common)


def test_joint_target_weighs_checkpoints_by_their_ratio() -> None:
    first = Influence(np.zeros(2), np.array([1.0, -1.0]), 0.0)
    second = Influence(np.zeros(2), np.array([0.0, 0.0]), 0.0)
    moved = target_influence([first, second], [np.log(3.0), 0.0], 0.5)
    np.testing.assert_allclose(moved, [-1.5, 1.5])


def test_errors_that_are_rounding_are_none() -> None:
    """A ratio that is the same in all windows has no error: beside others, no weight either."""
    some, none = {"a": (0.01, 0.02), "b": (0.03, 0.02)}, {"c": (1e-17, 0.0), "d": (0.0, 0.0)}
    assert usable_errors(some)["b"] == {"se": 0.03, "se_shared": 0.02}
    assert [row["se"] for row in usable_errors(none).values()] == [0.0, 0.0]
    with pytest.warns(NoErrorWarning, match="ratio of c, d is the same"):
        assert usable_errors({**some, **none}) == {}

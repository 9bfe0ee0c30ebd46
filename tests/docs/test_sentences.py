"""Sentences about token budgets: the unit, the target as asked for, and where it was met."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparsefit.counts import count_text, share_text
from sparsefit.results.bands import budget
from sparsefit.results.estimates import Budget


def made(**changes: Any) -> Budget:
    plain: dict[str, Any] = {
        "estimate": 1.2e12,
        "lower": 0.9e12,
        "upper": 2.1e12,
        "status": "reachable",
        "target": 0.07,
        "level": 0.9,
        "probability": 1.0,
        "tokens_seen": 4e11,
        "tokens_first": 1e10,
        "asked": "sparsity 0.93",
    }
    return Budget(**{**plain, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "Sparsity 0.93 is reached at 1.2T tokens "
            "(90% interval 900B to 2.1T tokens; 400B seen).",
        ),
        (
            {"status": "reached", "estimate": 2e11, "lower": 1.9e11, "upper": 2.1e11},
            "Sparsity 0.93 was reached at 200B tokens, within the data "
            "(90% interval 190B to 210B tokens).",
        ),
        (
            {"status": "reached", "estimate": 2e11, "lower": 1.9e11, "upper": math.inf},
            "Sparsity 0.93 was reached at 200B tokens, within the data "
            "(90% interval 190B tokens, open above).",
        ),
        (
            {"status": "reached", "estimate": 2e9, "lower": 0.0, "upper": 3e9},
            "Sparsity 0.93 was met before the first checkpoint (at 10B tokens).",
        ),
        (
            {"status": "reached", "estimate": 2e11, "lower": 0.0, "upper": 5e11},
            "Sparsity 0.93 was reached at 200B tokens, within the data "
            "(90% interval from before the first checkpoint to 500B tokens).",
        ),
        (
            {"status": "reached", "estimate": 2e11, "lower": 3e9, "upper": math.inf},
            "Sparsity 0.93 was reached at 200B tokens, within the data "
            "(90% interval from before the first checkpoint, open above).",
        ),
        (
            {"estimate": 2e11, "lower": 9e10},
            "Sparsity 0.93 was probably reached at 200B tokens, within the data; if not, it will "
            "be (90% interval 90B to 2.1T tokens; 400B seen).",
        ),
        (
            {"estimate": 2e9, "lower": 0.0},
            "Sparsity 0.93 was probably met before the first checkpoint (at 10B tokens); if not, "
            "it will be (90% interval from before the first checkpoint to 2.1T tokens; 400B seen).",
        ),
        (
            {"status": "unreachable", "probability": 0.2, "level": 0.5},
            "Sparsity 0.93 is out of reach in 80% of the draws.",
        ),
        (
            {"status": "undetermined", "lower": 0.0, "upper": math.inf, "probability": 0.9},
            "Sparsity 0.93: these data do not tell whether it is ever reached. 90% of the draws "
            "reach it (the median draw at 1.2T tokens); some met it before the first checkpoint "
            "(at 10B tokens).",
        ),
        (
            {"status": "unreachable", "probability": 0.004},
            "Sparsity 0.93 is out of reach in over 99% of the draws: "
            "more training will not reach it.",
        ),
        (
            {"status": "undetermined", "upper": math.inf, "probability": 0.7, "level": 0.8},
            "Sparsity 0.93: these data do not tell whether it is ever reached. 70% of the draws "
            "reach it (the median draw at 1.2T tokens); at most 10% do so before 900B tokens.",
        ),
        (
            {"status": "undetermined", "estimate": math.inf, "probability": 0.3},
            "Sparsity 0.93: these data do not tell whether it is ever reached. 30% of the "
            "draws reach it (the median draw never); at most 5% do so before 900B tokens.",
        ),
        (
            {"status": "unreachable", "probability": 0.004, "until": 4e12},
            "Sparsity 0.93 is not reached by 4T tokens in over 99% of the draws.",
        ),
        (
            {"status": "undetermined", "estimate": math.inf, "probability": 0.3, "until": 4e12},
            "Sparsity 0.93: these data do not tell whether it is reached by 4T tokens. 30% of the "
            "draws reach it (the median draw not by then); at most 5% do so before 900B tokens.",
        ),
    ],
)
def test_budget_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert made(**changes).sentence == sentence
    assert sentence in made(**changes)._repr_html_()


def test_repr_names_target_and_unit() -> None:
    text = repr(made(upper=math.inf, status="undetermined"))
    assert text == "Budget(sparsity 0.93, undetermined: 1.2T [900B, never] tokens, 90%)"


def test_repr_says_how_far_was_looked() -> None:
    text = repr(made(upper=math.inf, status="undetermined", until=4e12))
    assert text == "Budget(sparsity 0.93, undetermined: 1.2T [900B, after 4T] tokens, 90%)"


def test_target_is_named_as_asked_for(reference_fits: Any) -> None:
    fit = reference_fits["0.11m_relu_s0"]
    assert fit.tokens_to(sparsity=0.77).sentence.startswith("Sparsity 0.77 was reached at ")
    assert fit.tokens_to(sparsity=0.77).target == pytest.approx(0.23)
    assert fit.tokens_to(activation_ratio=0.23).sentence.startswith("Activation ratio 0.23 was ")
    # Its first checkpoint is at 0.262.
    assert "before the first checkpoint (at 200k tokens)" in fit.tokens_to(0.35).sentence
    assert fit.tokens_within(0.05).sentence.startswith("A distance of 5% from the limit ")


def test_first_and_last_point_come_from_the_run() -> None:
    import numpy as np

    found = budget(np.full(10, 0.5), 0.1, "activation ratio 0.1", 0.9, (1.0, 40.0))
    assert (found.tokens_first, found.tokens_seen) == (1e9, 4e10)
    assert found.status == "reached"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999.6e9, "1T"),
        (1.4527e11, "145B"),
        (5e5, "500k"),
        (12.0, "12"),
        (8.894e15, "8.89e15"),
        (math.inf, "never"),
    ],
)
def test_count_text(value: float, text: str) -> None:
    assert count_text(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.001, "under 1%"), (0.5, "50%"), (0.999, "over 99%"), (1.0, "100%")],
)
def test_share_text(share: float, text: str) -> None:
    assert share_text(share) == text

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sparsefit import laws
from sparsefit.bayes.engine import build_model
from sparsefit.bayes.importance import Model
from sparsefit.bayes.priors import default_priors
from sparsefit.estimation.points import Points
from sparsefit.estimation.warmup import warmup_choices

FALLING = (0.6, -2.8, 0.25, 0.07)
RISING = (0.5, 0.05, 0.42)


@pytest.fixture(scope="session")
def run_table() -> Callable[..., pd.DataFrame]:
    """Simulate one run on evenly spaced checkpoints."""

    def simulate(
        name: str = "run",
        theta: tuple[float, ...] = FALLING,
        law: str = "logspace_power",
        noise: float = 2e-4,
        n: int = 20,
        seed: int = 0,
        last: float = 60.0,
        **columns: object,
    ) -> pd.DataFrame:
        d = np.linspace(last / n, last, n)
        rng = np.random.default_rng(seed)
        y = laws.get(law).value(d, theta) + noise * rng.standard_normal(n)
        activation = "relu" if law == "logspace_power" else "silu"
        return pd.DataFrame(
            {
                "run": name,
                "tokens": np.round(1e9 * d).astype(np.int64),
                "activation_ratio": y,
                "activation": activation,
                **columns,
            }
        )

    return simulate


@pytest.fixture(scope="session")
def model_of() -> Callable[..., Model]:
    """Model of a simulated run."""

    def build(
        law: str = "logspace_power",
        likelihood: str = "auto",
        se: np.ndarray | None = None,
        n: int = 14,
        seed: int = 0,
        log_spaced: bool = False,
    ) -> Model:
        chosen = laws.get(law)
        d = (np.geomspace if log_spaced else np.linspace)(2.0, 40.0, n)
        theta = FALLING if chosen.n_shape == 2 else RISING
        y = chosen.value(d, theta) + 3e-4 * np.random.default_rng(seed).standard_normal(n)
        drops = warmup_choices(n, chosen.n_parameters)
        return build_model(chosen, Points(d, y), drops, likelihood, default_priors(chosen), se)

    return build

"""How far the limit moves with the choice of warm-up points."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparsefit.estimation.condense import condense
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.profile import profile_intervals
from sparsefit.estimation.warmup import warmup_choices
from sparsefit.laws import TOKENS_PER_UNIT

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def warmup_sensitivity(fit: Fit, level: float) -> pd.DataFrame:
    """See `Fit.warmup_sensitivity`."""
    return _table(fit, level).copy()


# A page shows the table and draws it.
@lru_cache(maxsize=16)
def _table(fit: Fit, level: float) -> pd.DataFrame:
    choices = np.union1d(warmup_choices(len(fit.points), fit.law.n_parameters), fit.averaged.drops)
    weights = dict(zip(fit.averaged.drops.tolist(), fit.averaged.drop_weight, strict=True))
    rows = []
    for k in choices.tolist():
        points = fit.points.since(k)
        condensed, within = condense(points)
        best = fit_least_squares(fit.law, condensed, polish=False)
        lower, upper = profile_intervals(fit.law, condensed, best, level, within)[-1]
        residual = points.y - fit.law.value(points.d, best.theta)
        rows.append(
            {
                "n_dropped": k,
                "first_tokens": points.d[0] * TOKENS_PER_UNIT,
                "n_used": len(points),
                "limit": best.limit,
                "limit_lower": lower,
                "limit_upper": upper,
                "rmse": float(np.sqrt(np.mean(residual**2))),
                # Choices that the fit was told not to consider have no weight in it.
                "weight": float(weights.get(k, 0.0)),
                "chosen": k == fit.n_warmup,
            }
        )
    return pd.DataFrame(rows)

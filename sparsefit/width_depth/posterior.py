"""Bayesian fit of the width-depth law to a table or to fits."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from sparsefit.checks import check_choice, check_whole
from sparsefit.seeds import Rng, seed_of
from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.models import SIGNS, Sign
from sparsefit.width_depth.points import Replicates, read_points, require_enough
from sparsefit.width_depth.posterior_grid import GridPosterior, grid_posterior
from sparsefit.width_depth.posterior_result import PosteriorBreakTest, PosteriorFit
from sparsefit.width_depth.scaled import Scaled, scale

Engine = Literal["grid", "nuts"]


def fit_width_depth_bayes(
    points: Any,
    *,
    ratios: Any = None,
    sign: Sign = "rising",
    engine: Engine = "grid",
    replicates: Replicates = "error",
    draws: int = 4000,
    rng: Rng = 0,
) -> PosteriorFit:
    """Bayesian fit of the width-depth law (a line, then level).

    Parameters
    ----------
    points, ratios, sign, replicates
        As in `fit_width_depth`.
    engine : {"grid", "nuts"}
        "grid" integrates the linear parameters in closed form and the break on a grid: exact,
        without a compiler. "nuts" samples the same posterior with PyMC (extra ``bayes``).
    draws : int
        Draws kept ("nuts" runs four chains of a quarter each).
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    PosteriorFit

    Raises
    ------
    TableError, FitError, ArgumentError
        As in `fit_width_depth`.
    MissingDependencyError
        For "nuts" without PyMC.
    """
    check_choice("sign", sign, SIGNS)
    check_choice("engine", engine, ("grid", "nuts"))
    draws = check_whole("draws", draws, 400)
    seed = seed_of(rng)
    read = read_points(points, ratios=ratios, replicates=replicates)
    require_enough(read)
    scaled = scale("line_plateau", read.ratio, read.value, read.se, sign)
    x, se = scaled.design.x, scaled.se
    y = (read.value - scaled.y_shift) / scaled.y_scale
    grid = grid_posterior(x, y, se, sign == "rising", draws, np.random.default_rng(seed))
    sample, diagnostics = grid.draws, {}
    if engine == "nuts":
        from sparsefit.width_depth.posterior_nuts import nuts_posterior

        spread = scaled.residual() / scaled.y_scale
        sigma = float(np.sqrt(spread @ spread / scaled.weights.df))
        start = np.array([*scaled.coefficients, scaled.breakpoint, max(sigma, 1e-6)])
        result = nuts_posterior(
            x, y, se, sign == "rising", start, grid.relevant(), -(-draws // 4), 4, seed
        )
        sample, diagnostics = result.draws, result.diagnostics
    test = PosteriorBreakTest(
        p_no_break=float(1.0 / (1.0 + np.exp(min(grid.log_bayes_factor, 700.0)))),
        log_bayes_factor=grid.log_bayes_factor,
    )
    return PosteriorFit(
        draws_table=_in_units(sample, scaled),
        points=read,
        test=test,
        # The grid's density also stands for the sampler's: the same posterior without noise.
        density=_break_density(grid, scaled),
        engine=engine,
        diagnostics=diagnostics,
        bounds=(0.0, 1.0),
        seed=seed,
    )


def _in_units(sample: Array, scaled: Scaled) -> pd.DataFrame:
    """Draws (intercept, slope, break, scatter) in the units of the points, with the plateau."""
    a, b, tau, s = sample.T
    return pd.DataFrame(
        {
            "breakpoint": tau * scaled.x_scale,
            "slope": b * scaled.y_scale / scaled.x_scale,
            "intercept": scaled.y_shift + scaled.y_scale * a,
            "plateau": scaled.y_shift + scaled.y_scale * (a + b * tau),
            "scatter": s * scaled.y_scale,
        }
    )


def _break_density(grid: GridPosterior, scaled: Scaled) -> pd.DataFrame:
    """Posterior of the break on the grid: its height over the prior, and its probability."""
    height = grid.weight / grid.cells.prior
    return pd.DataFrame(
        {
            "breakpoint": grid.cells.middle * scaled.x_scale,
            "height": height / height.max(),
            "probability": grid.weight,
        }
    )

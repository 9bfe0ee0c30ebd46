"""`sf.fit` and `sf.fit_bayes` as forecasting methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.memo import fingerprint, recalled
from sparsefit.backtesting.seen import kin_of, target_of
from sparsefit.by_run import each_run
from sparsefit.errors import ArgumentError, quoted
from sparsefit.estimation.notes import Note
from sparsefit.seeds import seed_of

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.bayes.result import BayesFit
    from sparsefit.results.fit import Fit


def fit(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """`sf.fit` with its defaults, on the run alone."""
    return configured()(seen, tokens, rng)


def fit_bayes(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """`sf.fit_bayes` on the run alone, by importance sampling (NUTS takes minutes a backtest)."""
    return from_fit(_bayes(_own(seen), engine="importance", rng=seed_of(rng)), tokens, rng)


def _bayes(rows: pd.DataFrame, **settings: Any) -> BayesFit:
    """`sf.fit_bayes` of the rows of one run."""
    from sparsefit.bayes.api import fit_bayes as run

    return cast("BayesFit", run(rows, **settings))


def fit_bayes_pooled(
    seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
) -> MethodForecast:
    """`sf.fit_bayes` pooled over the runs shown, of the target's activation.

    A run of which nothing is seen is forecast from the others by its parameter count. Other runs
    that cannot be fitted are left out, which is noted. Where no other run is left, the run is
    fitted alone, which is recorded as a fallback.
    """
    from sparsefit.bayes.pooled_result import PooledFits
    from sparsefit.bayes.pooling import alike, learn, pool_run

    target = target_of(seen)
    name, activation = target["run"], target.get("activation")
    kin = kin_of(seen)
    kin.attrs = {}
    own, others = kin[kin["run"] == name], kin[kin["run"] != name]
    # Other runs are the same in many cells: they are fitted, and learnt from, once, with one seed.
    rows = {str(other): part for other, part in others.groupby("run", sort=False)}
    marks = {other: fingerprint(part) for other, part in rows.items()}
    fits, left_out = each_run(
        marks,
        lambda other: recalled(
            ("fit_bayes", marks[other]), partial(_bayes, rows[other], engine="importance")
        ),
    )
    said = tuple(Note(f"left out: {why}", "pooling") for why in left_out.values())
    if not fits:
        none = f"no other run {'can be fitted' if left_out else 'is shown'}"
        if own.empty:
            raise ArgumentError(f"run {quoted(name)}: {none}, of activation {quoted(activation)}")
        alone = fit_bayes(seen, tokens, rng)
        return replace(
            alone,
            fallback=f"fit_bayes_pooled: {none}; fit_bayes used",
            notes=(*said, *alone.notes),
        )
    covariates = ("n_params",)
    if own.empty:
        seed = seed_of(rng)
        family = PooledFits(dict(fits), left_out, alone=fits, seed=seed)
        new = family.predict_scale(float(target["n_params"]), activation, rng=seed)
        unseen = MethodForecast.from_draws(
            tokens,
            new.simulate(tokens, "observation", rng=seed_of(rng)),
            curve_draws=new.simulate(tokens, "curve"),
        )
        return replace(unseen, notes=said)
    mine = _bayes(own, engine="importance", rng=seed_of(rng))
    known = alike(mine, fits.values())
    learnt = None
    if known:
        learnt = recalled(
            ("population", *(marks[other.run] for other in known)),
            lambda: learn(known, covariates, np.random.default_rng(0)),
        )
    found = from_fit(pool_run(mine, known, covariates, seed_of(rng), learnt), tokens, rng)
    return replace(found, notes=(*said, *found.notes))


def configured(**settings: Any) -> Callable[..., MethodForecast]:
    """A method that calls `sf.fit` with the settings given (law, warmup, robust)."""

    def method(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
        from sparsefit.fitting import fit as run

        found = run(_own(seen), rng=seed_of(rng), **settings)
        return from_fit(cast("Fit", found), tokens, rng)

    return method


def settings_of(found: Fit) -> dict[str, Any]:
    """How to repeat a fit on fewer points: its method, law, warm-up rule and robustness.

    ``warmup="auto"`` is repeated as such; any other rule as the number of points it left out.
    """
    warmup = "auto" if found.warmup == "auto" else found.n_warmup or None
    settings: dict[str, Any] = {"method": found.method, "law": found.law, "warmup": warmup}
    if found.method == "fit":
        settings["robust"] = found.robust
    else:
        posterior = found.posterior  # type: ignore[attr-defined]
        settings["likelihood"], settings["priors"] = posterior.likelihood, posterior.priors
    return settings


@dataclass(frozen=True)
class Repeated:
    """A method that repeats each run's fit with that fit's own settings.

    Attributes
    ----------
    settings : mapping of str to dict
        By run, from `settings_of`.
    """

    settings: Mapping[str, Mapping[str, Any]]

    def __call__(
        self, seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
    ) -> MethodForecast:
        """Fit the seen points and forecast."""
        run = str(target_of(seen)["run"])
        if run not in self.settings:
            raise ArgumentError(f"fits: there is no such fit of run {run!r} to repeat.")
        settings = dict(self.settings[run])
        method = settings.pop("method")
        if method == "fit":
            return configured(**settings)(seen, tokens, rng)
        return from_fit(_bayes(_own(seen), rng=seed_of(rng), **settings), tokens, rng)


def from_fit(found: Fit, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """Draws of new measurements and of their mean, with what the fit has to say about itself.

    Its bands for measurements are those of `Fit.forecast`. So are those for the curve, except that
    an error that all checkpoints share is in them: what is forecast is what will be measured.
    """
    from sparsefit.results.bands import EdgeDraws
    from sparsefit.results.limits import edge_of

    seen = found.simulate(tokens, "observation", rng=seed_of(rng))
    curve = found.simulate(tokens, "measured")
    drawn = MethodForecast.from_draws(tokens, seen, curve_draws=curve)
    edges = (EdgeDraws.of(edge_of(found), curve, seen),)
    return replace(drawn, notes=found.notes, edges=edges)


def _own(seen: pd.DataFrame) -> pd.DataFrame:
    return seen[seen["run"] == target_of(seen)["run"]]

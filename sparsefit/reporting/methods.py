"""The methods of a report in sentences, ready for an appendix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefit.reporting.run_section import Settings

if TYPE_CHECKING:
    from sparsefit.estimation.noise import NoiseModel
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

_LEAST_SQUARES = (
    "Coefficients are the global optimum of (weighted) least squares over the points after the "
    "warm-up: the law is linear in its limit and amplitude once its shape is known, so the shape "
    "is searched on a grid, the linear pair is solved exactly, and the best candidates are "
    "polished by Levenberg-Marquardt. Bounds on the coefficients are physical (0 ≤ A0 ≤ 1, c > 0, "
    "alpha > 0)."
)
_AVERAGE = (
    "Intervals do not belong to that one curve. Limit, amplitude and noise scale are integrated "
    "out in closed form (Student-t) for every shape on a grid, every noise model ({noise}) and "
    "every number of first points left out; all are weighed by their evidence. "
    "Forecasts, budgets and derivatives are quantiles of {draws} draws from that average; bands "
    "for a new measurement add the correlated residual. The interval of the limit is cut from "
    "its integrated likelihood (the posterior divided by the reference measure) at the Student-t "
    "level, so that it reaches the physical bound where the data do not bound the limit."
)
_BAYES = (
    "Coefficients are medians, and intervals equal-tailed quantiles, of {draws} posterior draws "
    "that average over noise models ({noise}) and warm-up choices. An interval of the limit ends "
    "on a physical bound where the likelihood alone does not exclude it."
)


def methods(fits: Fits, settings: Settings) -> tuple[str, ...]:
    """Sentences on laws, estimation, measure or priors, warm-up and versions.

    Parameters
    ----------
    fits : Fits
        What the report is about.
    settings : Settings
        Level of the intervals.

    Returns
    -------
    tuple of str
        One paragraph each.
    """
    members = list(fits.values())
    out = []
    for law in {fit.law.name: fit.law for fit in members}.values():
        names = [fit.run for fit in members if fit.law.name == law.name]
        meanings = "; ".join(f"{p.name}: {p.meaning} ({p.unit})" for p in law.parameters)
        out.append(
            f"The law {law.name} ({law.source}), {law.equation}, with D in billions of training "
            f"tokens, was fitted to {_listed(names)}. Coefficients: {meanings}."
        )
    draws = len(members[0].averaged.draws.limit)
    noise = noise_words([model for fit in members for model in fit.averaged.noises])
    for method, kind in (("fit", (_LEAST_SQUARES, _AVERAGE)), ("fit_bayes", (_BAYES,))):
        if any(fit.method == method for fit in members):
            out.append(" ".join(kind).format(draws=draws, noise=noise))
    for text in dict.fromkeys(_measure(fit) for fit in members):
        out.append(text)
    out.append(
        f"Warm-up: {_warmup(members)} A limit is called identified if both ends of its "
        f"{100 * settings.level:g}% interval lie strictly inside the physical bounds, one-sided if "
        "one does, not identified if none does."
    )
    out.append(_versions(members[0]))
    return tuple(out)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} runs ({', '.join(names)})"


_KINDS = {
    "white": "independent",
    "ar1": "AR(1) over checkpoints with correlation {}",
    "ou": "white noise mixed with a departure from the law that fades over log tokens",
    "transient": "a start off the law that fades within {} checkpoints",
    "student_t": "independent with heavy tails (Student-t, {} degrees of freedom)",
}


def noise_words(models: Sequence[NoiseModel]) -> str:
    """Noise models in words: their kinds, then how their spread depends on D."""
    kinds: dict[str, list[float]] = {}
    for model in models:
        values = kinds.setdefault(model.kind, [])
        if model.rho not in values:
            values.append(model.rho)
    said = [
        _KINDS.get(kind, kind).format(" or ".join(f"{value:g}" for value in sorted(values)))
        for kind, values in kinds.items()
    ]
    powers = sorted({model.spread_exponent for model in models})
    spread = ", ".join("0" if power == 0 else f"−{power:g}" for power in powers)
    words = f"{'; '.join(said)}; standard deviation proportional to D to the power {spread}"
    if any(model.se_exponent for model in models):
        words += ", and with and without the measured standard errors"
    if any(model.outliers for model in models):
        words += ", and with and without single points that have a large error of their own"
    return words


def _measure(fit: Fit) -> str:
    if fit.method == "fit_bayes":
        priors = "; ".join(getattr(fit, "priors", ()))
        return f"Priors ({fit.law.name}): {priors}."
    return f"Prior on the shape ({fit.law.name}): {fit.averaged.prior_text}."


def _warmup(fits: list[Fit]) -> str:
    rules = dict.fromkeys(fit.warmup for fit in fits)
    wide = {"fit": "a uniform density", "fit_bayes": "a wide Student-t density around the law"}
    densities = dict.fromkeys(wide[fit.method] for fit in fits)
    if list(rules) == ["auto"]:
        return (
            "the first points, up to a third of them, may not follow the law; choices are averaged "
            f"over by evidence, a left-out point being described by {' or '.join(densities)}."
        )
    return f"rule {', '.join(rules)}."


def _versions(fit: Fit) -> str:
    made = fit.provenance
    packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
    commit = f" (commit {made['git']})" if made.get("git") else ""
    return (
        f"Made with sparsefit {made['sparsefit']}{commit}, Python {made['python']}, {packages}; "
        f"seed {fit.seed}; fitted {made['utc']}."
    )

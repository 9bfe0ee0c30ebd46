"""What the residuals say about a fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.display import facts_html
from sparsefit.estimation.misfit import only_rounding

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def neighbour_correlation(residual: NDArray[np.float64]) -> float:
    """Correlation of neighbouring residuals about their mean of 0; 0 where all of them are 0."""
    total = max(float(np.sum(residual**2)), 1e-300)
    return float(np.sum(residual[1:] * residual[:-1]) / total)


def beyond_rounding(fit: Fit) -> NDArray[np.float64]:
    """Residuals of a fit; 0 throughout where only the rounding of floats is left of them."""
    residual = fit.residuals()
    return np.zeros_like(residual) if only_rounding(residual, fit.points.y) else residual


def residual_facts(found: Any) -> dict[str, float]:
    """Residual diagnostics by their names for a reader."""
    return {
        "correlation of neighbouring residuals": found.lag1,
        "Durbin-Watson": found.durbin_watson,
        "Ljung-Box p": found.ljung_box_p,
        "slope of the spread on log D": found.spread_slope,
        "its p": found.spread_p,
        "largest residual, typical sizes": found.largest_standardised,
        "effective sample size": found.ess,
    }


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """Residual diagnostics of one run.

    Attributes
    ----------
    lag1 : float
        Correlation of neighbouring residuals, each weighted as in the fit.
    durbin_watson : float
        2 for independent residuals, towards 0 for positively correlated ones.
    ljung_box_p : float
        p-value of no autocorrelation up to lag min(10, n // 5); 1 where the curve goes through
        every point.
    spread_slope, spread_p : float
        Slope of log ``|residual|`` on log D and its p-value; negative where the spread falls.
    largest_standardised : float
        Largest ``|residual|`` in units of the median-based scale.
    ess : float
        Effective sample size behind the draws.
    sentences : tuple of str
        The same in words.
    """

    lag1: float
    durbin_watson: float
    ljung_box_p: float
    spread_slope: float
    spread_p: float
    largest_standardised: float
    ess: float
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**asdict(self), "sentences": list(self.sentences)}

    def __repr__(self) -> str:
        return (
            f"Diagnostics(lag-1 correlation {self.lag1:+.2f}, Ljung-Box p {self.ljung_box_p:.3g}, "
            f"largest residual {self.largest_standardised:.2g} times the typical)"
        )

    def _repr_html_(self) -> str:
        return facts_html("Diagnostics", residual_facts(self), self.sentences)


def diagnose(fit: Fit) -> Diagnostics:
    """See `Fit.diagnostics`."""
    from scipy.stats import linregress
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.stats.stattools import durbin_watson

    used = fit.points.since(fit.n_warmup)
    residual = beyond_rounding(fit) * np.sqrt(used.weights)
    n = residual.size
    exact = not residual.any()
    lags = [max(1, min(10, n // 5))]
    box = 1.0 if exact else float(acorr_ljungbox(residual, lags=lags)["lb_pvalue"].iloc[0])
    scale = max(float(np.median(np.abs(residual))) / 0.6745, 1e-300)
    spread = linregress(np.log(used.d), np.log(np.maximum(np.abs(residual), 1e-3 * scale)))
    largest = float(np.max(np.abs(residual)) / scale)
    if exact:
        first = "The curve goes through every point: there are no residuals to judge."
    elif box < 0.05:
        first = "Residuals are correlated from checkpoint to checkpoint; the bands allow for it."
    else:
        first = "Residuals show no clear correlation from checkpoint to checkpoint."
    sentences = [first]
    if spread.pvalue < 0.05:
        way = "falls" if spread.slope < 0 else "grows"
        sentences.append(f"The spread of the residuals {way} with D; the bands allow for it.")
    if largest > 5:
        sentences.append(
            f"One residual is {largest:.1f} times the typical size: consider robust=True."
        )
    sentences.extend(fit.notes)
    return Diagnostics(
        neighbour_correlation(residual),
        2.0 if exact else float(durbin_watson(residual)),
        box,
        float(spread.slope),
        float(spread.pvalue),
        largest,
        fit.averaged.ess,
        tuple(sentences),
    )

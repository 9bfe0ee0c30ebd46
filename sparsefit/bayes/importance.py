"""The default engine: adaptive importance sampling, started by the exact flat-prior posterior.

The grid of `estimation.quadrature` gives draws from the posterior under flat priors and Gaussian
noise. A mixture of Student-t distributions fitted to them is the first proposal; noise models and
warm-up choices are summed out of the target exactly, the proposal is refitted to the weighted draws
and drawn from again. A Pareto fit of the largest weights decides whether the result can be trusted.
If not, more draws are taken from better proposals. If the checks still fail, the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.coordinates import Described, from_coordinates, to_coordinates
from sparsefit.bayes.likelihood import Likelihood
from sparsefit.bayes.mixture import StudentMixture, fit_mixture, log_sum_exp
from sparsefit.bayes.population import Located
from sparsefit.bayes.priors import (
    SIGMA_FLOOR,
    Priors,
    draw_prior,
    log_prior_terms,
    shape_prior,
)
from sparsefit.bayes.psis import KHAT_LIMIT, Smoothed, smooth
from sparsefit.estimation.draws import Draws, Sample, sample, stratified
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.noise import noise_grid, spread_exponents
from sparsefit.estimation.points import Points
from sparsefit.estimation.quadrature import Cells, Problem, integrate
from sparsefit.laws import Law

Array = NDArray[np.float64]
Index = NDArray[np.intp]

ESS_WANTED = 2000.0

EXCHANGEABLE = 0.5
"""Prior probability that a pooled run is like the others; else its prior is that of a run alone
(exchangeable or not: Neuenschwander et al., 2016)."""

_START = 1000
# Rounds that adapt the proposal until a fair share of the draws counts, then rounds that bring the
# effective sample size wanted; all draws enter the result.
_ADAPT, _ADAPT_SIZE, _SETTLED, _ESS_TO_FIT = 7, 1200, 0.2, 150.0
# Least draws of a final round where the weights cannot be trusted yet, and the most of any.
_FINAL_SIZES, _LEAST, _MOST = (4000, 6000, 20000), 1000, 20000
_COMPONENTS = 6
# Draws whose likelihood is computed at once: bounds the memory of the table of all models.
_PIECE = 1500


def sum_terms(terms: dict[str, Array]) -> Array:
    """Log prior density from its terms."""
    return np.asarray(np.sum(list(terms.values()), axis=0))


@dataclass(frozen=True)
class Model:
    """Everything that defines the posterior of one run.

    Attributes
    ----------
    law : Law
        Law.
    points : Points
        Usable points.
    drops : ndarray of int
        Warm-up choices, equally likely beforehand.
    priors : Priors
        Priors of the law's parameters and the noise scale.
    likelihood : Likelihood
        Noise models and measured errors.
    population : Located, optional
        Prior that other runs give this one. It is mixed with `priors`, whose bounds stay.
    left_out : int
        Number of points before these that the user left out as warm-up.
    """

    law: Law
    points: Points
    drops: Index
    priors: Priors
    likelihood: Likelihood
    population: Located | None = None
    left_out: int = 0

    def log_prior(self, d: Described, spread: Array | float = 0.0) -> dict[str, Array]:
        """Log prior density by term, -inf for the impossible; their sum is over coordinates.

        Parameters
        ----------
        d : Described
            Draws.
        spread : float or ndarray, shape (m,)
            Spread exponent of each draw's noise model: it moves the noise scale to the reference D
            at which runs are compared.
        """
        parts = (d.shape, d.amplitude, d.limit, d.sigma)
        terms = log_prior_terms(self.law, self.priors, self.points.span, *parts)
        if self.population is None:
            return {**terms, "jacobian": d.log_jacobian}
        with np.errstate(invalid="ignore"):
            alone = sum_terms(terms) + d.log_jacobian
        possible = np.isfinite(alone)
        found = np.full(possible.size, -np.inf)
        shape, amplitude, limit, sigma = (part[possible] for part in parts)
        spread = np.broadcast_to(spread, possible.shape)[possible]
        like = self.population.log_density(
            self.law, self.points.span, shape, amplitude, limit, sigma, spread
        )
        # The run may be unlike the others: then its prior is that of a run alone.
        found[possible] = np.logaddexp(
            np.log(EXCHANGEABLE) + like, np.log1p(-EXCHANGEABLE) + alone[possible]
        )
        return {"population": found}

    def log_likelihood(self, draws: Draws) -> Array:
        """Log likelihood of draws, whose points left out count from the first of the run."""
        return self.likelihood.of(replace(draws, drop=draws.drop - self.left_out), self.drops)

    def log_target(self, u: Array, rng: np.random.Generator) -> tuple[Array, Index, Index]:
        """Log posterior density at coordinates, models summed out; one draw of the models each.

        Parameters
        ----------
        u : ndarray, shape (m, p)
            See `coordinates.to_coordinates`.
        rng : numpy.random.Generator
            Draws noise model and warm-up choice given the rest.

        Returns
        -------
        log_density : ndarray, shape (m,)
            Up to the evidence.
        noise, drop : ndarray of int, shape (m,)
            Noise model and number of warm-up points.
        """
        log_density = np.full(u.shape[0], -np.inf)
        noise, drop = np.zeros(u.shape[0], dtype=np.intp), np.zeros(u.shape[0], dtype=np.intp)
        d = from_coordinates(self.law, self.points.span, u)
        noises = self.likelihood.noises
        spreads, of_noise = np.zeros(1), np.zeros(len(noises), dtype=np.intp)
        if self.population is not None:
            spreads, of_noise = np.unique(spread_exponents(noises), return_inverse=True)
        with np.errstate(invalid="ignore"):
            prior = np.stack([sum_terms(self.log_prior(d, float(e))) for e in spreads])
        possible = np.flatnonzero(np.isfinite(prior).all(axis=0))
        models = np.log([model.prior for model in self.likelihood.noises])[:, None, None]
        for at in np.array_split(possible, max(1, -(-possible.size // _PIECE))):
            basis = self.law.sign * self.law.basis(self.points.d, d.shape[at], self.points.span)
            curve = d.limit[at, None] + d.amplitude[at, None] * basis
            table = self.likelihood.table(
                self.points.y - curve, d.change[at], d.sigma[at], self.drops
            )
            table = table + (models + prior[of_noise][:, None, at])
            table = table.reshape(-1, at.size)
            top = table.max(axis=0)
            cumulative = np.cumsum(np.exp(table - top), axis=0)
            total = cumulative[-1]
            log_density[at] = top + np.log(total) - np.log(self.drops.size)
            pick = (cumulative < rng.random(at.size) * total).sum(axis=0)
            noise[at], choice = np.divmod(np.minimum(pick, len(table) - 1), self.drops.size)
            drop[at] = self.drops[choice]
        return log_density, noise, drop

    def draws(self, u: Array, noise: Index, drop: Index) -> Draws:
        """Draws from coordinates and models."""
        d = from_coordinates(self.law, self.points.span, u)
        return Draws(d.shape, d.amplitude, d.limit, d.sigma, noise, drop, self.points.span)


@dataclass(frozen=True)
class Flat:
    """The flat-prior posterior with Gaussian noise, and draws from it.

    Attributes
    ----------
    problem, cells, sample : Problem, Cells, Sample
        Grid and draws.
    peak : StudentMixture, optional
        Peak about the least-squares fit, where points without noise make it narrower than a grid
        can find.
    """

    problem: Problem
    cells: Cells
    sample: Sample
    peak: StudentMixture | None = None


def flat_posterior(model: Model, rng: np.random.Generator) -> Flat:
    """Exact posterior to start from, under every second Gaussian noise model of `sf.fit`."""
    measure = shape_prior(model.law, model.priors)
    chosen = noise_grid()[::2]
    total = sum(noise.prior for noise in chosen)
    noises = tuple(replace(noise, prior=noise.prior / total) for noise in chosen)
    least = SIGMA_FLOOR[model.law.response]

    def start(y: Array) -> Flat:
        points = Points(model.points.d, y)
        problem = Problem.of(model.law, points, noises, model.drops, measure)
        cells = integrate(problem)
        return Flat(problem, cells, sample(problem, cells, _START, rng))

    flat = start(model.points.y)
    if float(np.median(flat.sample.draws.sigma)) < 2 * least:
        # Points computed from a law: the start knows no least noise and would be far too narrow.
        flat = start(model.points.y + least * rng.standard_normal(len(model.points)))
        flat = replace(flat, peak=_peak(model, 1.5 * least))
    return flat


def _peak(model: Model, sigma: float) -> StudentMixture:
    """First-order posterior about the least-squares fit to all points at one noise scale."""
    law, points = model.law, model.points
    best = fit_least_squares(law, points)
    none = np.zeros(1, dtype=np.intp)
    amplitude, limit, scale = (np.array([v]) for v in (best.amplitude, best.limit, sigma))
    optimum = Draws(best.shape[None], amplitude, limit, scale, none, none, points.span)
    centre = to_coordinates(law, optimum)[0]
    steps = 1e-5 * np.eye(centre.size)[:-1]
    d = from_coordinates(law, points.span, centre + np.vstack([steps, -steps]))
    basis = law.sign * law.basis(points.d, d.shape, points.span)
    curve = d.limit[:, None] + d.amplitude[:, None] * basis
    slope = (curve[: len(steps)] - curve[len(steps) :]) / 2e-5
    covariance = np.zeros((centre.size, centre.size))
    covariance[:-1, :-1] = sigma**2 * np.linalg.pinv(slope @ slope.T, rcond=1e-12, hermitian=True)
    covariance[-1, -1] = 0.5**2
    root = np.linalg.cholesky(covariance + np.diag(1e-9 * np.diag(covariance) + 1e-18))
    return StudentMixture(np.zeros(1), centre[None], root[None], 4.0)


@dataclass(frozen=True)
class Weighted:
    """Draws with weights.

    Attributes
    ----------
    draws : Draws
        Proposals.
    smoothed : Smoothed
        Pareto-smoothed weights, k-hat and effective sample size.
    log_evidence : float
        Log of the probability density of the data under the model.
    """

    draws: Draws
    smoothed: Smoothed
    log_evidence: float


def sample_posterior(
    model: Model, flat: Flat, rng: np.random.Generator, wanted: float = ESS_WANTED
) -> Weighted:
    """Weighted draws from the posterior, more of them until they can be trusted or stages end.

    Parameters
    ----------
    model, flat : Model, Flat
        The posterior and where to start.
    rng : numpy.random.Generator
        Source of randomness.
    wanted : float
        Effective sample size to reach.
    """
    proposals = [_first_proposal(model, flat, rng)]
    drawn = _Drawn()
    adapted, final, settled = 0, 0, False
    smoothed = Smoothed(np.empty(0), np.inf, 0.0)
    while True:
        adapting = final == 0 and not settled and adapted < _ADAPT
        size = _ADAPT_SIZE if adapting else _final_size(smoothed, drawn.target.size, wanted, final)
        u = proposals[-1].draw(size, rng)
        drawn.add(u, model.log_target(u, rng), proposals)
        log_weights = drawn.target - drawn.log_proposal()
        smoothed = smooth(log_weights)
        adapted, final = adapted + adapting, final + (not adapting)
        settled = smoothed.ess > _SETTLED * log_weights.size
        if final and smoothed.khat <= KHAT_LIMIT and smoothed.ess >= wanted:
            break
        if final == len(_FINAL_SIZES):
            break
        weights = _tempered(smoothed, _ESS_TO_FIT)
        proposals.append(fit_mixture(drawn.u, weights, _COMPONENTS, rng))
    return Weighted(
        model.draws(drawn.u, drawn.noise, drawn.drop),
        smoothed,
        float(np.logaddexp.reduce(log_weights) - np.log(log_weights.size)),
    )


def _final_size(smoothed: Smoothed, size: int, wanted: float, final: int) -> int:
    """Draws that should bring the effective sample size to what is wanted, with some reserve."""
    # The refitted proposal is better than the rounds before it.
    share = min(smoothed.ess / size + 0.1, 0.7)
    needed = int((1.1 * wanted - smoothed.ess) / share)
    least = _LEAST if smoothed.khat <= KHAT_LIMIT else _FINAL_SIZES[final]
    return min(max(needed, least), _MOST)


def _first_proposal(model: Model, flat: Flat, rng: np.random.Generator) -> StudentMixture:
    """Mixture about the flat-prior posterior, with parts far wider and over the whole prior.

    The flat posterior knows neither heavy tails nor priors, and data that say little leave the
    posterior where the prior is.
    """
    span, none = model.points.span, np.zeros(_START, dtype=np.intp)
    drawn = draw_prior(model.law, model.priors, span, _START, rng)
    prior = to_coordinates(model.law, Draws(*drawn, none, none, span))
    wide = fit_mixture(prior, np.full(_START, 1.0 / _START), 3, rng, dof=3.0)
    start = to_coordinates(model.law, flat.sample.draws)
    terms = model.log_prior(from_coordinates(model.law, span, start))
    with np.errstate(invalid="ignore"):
        start = start[np.isfinite(sum_terms(terms))]
    if len(start) < _START // 20:
        return wide if flat.peak is None else wide.joined(flat.peak, 0.5)
    equal = np.full(len(start), 1.0 / len(start))
    near = fit_mixture(start, equal, _COMPONENTS, rng, dof=3.0, widen=1.5)
    around = fit_mixture(start, equal, 1, rng, dof=3.0, widen=5.0)
    found = near.joined(around, 0.1).joined(wide, 0.15)
    return found if flat.peak is None else found.joined(flat.peak, 0.5)


def _tempered(smoothed: Smoothed, wanted: float) -> Array:
    """Weights raised to the power, at most 1, at which their effective sample size is `wanted`."""
    log, low, high = smoothed.log_weights, 0.0, 1.0
    if smoothed.ess >= wanted:
        return smoothed.weights
    for _ in range(30):
        power = (low + high) / 2
        scaled = power * log[np.isfinite(log)]
        ess = np.exp(2 * np.logaddexp.reduce(scaled) - np.logaddexp.reduce(2 * scaled))
        low, high = (power, high) if ess > wanted else (low, power)
    with np.errstate(invalid="ignore"):
        scaled = np.where(np.isfinite(log), low * log, -np.inf)
    return np.asarray(np.exp(scaled - np.logaddexp.reduce(scaled)))


class _Drawn:
    """Draws so far, with the log density of every proposal at each."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.u = np.empty((0, 0))
        self.target = np.empty(0)
        self.noise = self.drop = np.empty(0, dtype=np.intp)
        self._log_density = np.empty((0, 0))

    def add(
        self, u: Array, found: tuple[Array, Index, Index], proposals: list[StudentMixture]
    ) -> None:
        """Add draws `u` from the last of `proposals`."""
        new = np.stack([proposal.log_density(u) for proposal in proposals])
        if self.sizes:
            old = np.vstack([self._log_density, proposals[-1].log_density(self.u)])
            new, u = np.hstack([old, new]), np.concatenate([self.u, u])
        self.sizes.append(new.shape[1] - sum(self.sizes))
        self.u, self._log_density = u, new
        self.target = np.append(self.target, found[0])
        self.noise, self.drop = np.append(self.noise, found[1]), np.append(self.drop, found[2])

    def log_proposal(self) -> Array:
        """Log density of all proposals together, each with its share of the draws."""
        share = np.log(np.array(self.sizes) / sum(self.sizes))
        return log_sum_exp(self._log_density + share[:, None])


def resample(weighted: Weighted, size: int, rng: np.random.Generator) -> Draws:
    """Equally weighted draws by systematic resampling, in random order."""
    index = stratified(weighted.smoothed.weights, size, rng.random())
    return weighted.draws.take(rng.permutation(index))

"""The density that NUTS samples: the default engine's, finite where chains start; no sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparsefit import laws
from sparsefit.bayes import Exponential, LogNormal, Normal, Priors, Uniform
from sparsefit.bayes.coordinates import to_coordinates
from sparsefit.bayes.engine import build_model
from sparsefit.bayes.importance import Model, flat_posterior
from sparsefit.bayes.likelihood import LIKELIHOODS
from sparsefit.bayes.likelihood_op import log_likelihood, pack
from sparsefit.bayes.nuts_coordinates import decode, encode
from sparsefit.bayes.nuts_groups import Group, fit_groups, pack_groups
from sparsefit.bayes.nuts_map import fit_map, map_with_jacobian
from sparsefit.bayes.posterior import Sampling
from sparsefit.bayes.priors import default_priors
from sparsefit.estimation.points import Points

RISING = (0.5, 0.05, 0.42)
SE = np.linspace(1e-4, 4e-4, 14)


def _density(model: Model, rng: np.random.Generator) -> tuple[Any, Any, tuple[Group, ...]]:
    """Log density with each group's coordinates and terms, its gradient, and the groups."""
    pytest.importorskip("pymc")
    import pytensor

    from sparsefit.bayes.symbolic import build

    start = flat_posterior(model, rng).sample.draws
    u = to_coordinates(model.law, start)
    x = encode(model.law, model.priors, start)
    groups = fit_groups(model, x, model.log_target(u, rng)[1], 0.45)
    built = build(model, pack_groups(groups))
    (v,) = built.value_vars
    log = built.logp()
    of_groups = built.replace_rvs_by_values([built["x"], built["log_term"]])
    # Python instead of compiled code: slow to run, quick to make.
    mode = pytensor.compile.mode.Mode(linker="py", optimizer="fast_compile")
    value = pytensor.function([v], [log, *of_groups], mode=mode)
    return value, pytensor.function([v], pytensor.gradient.grad(log, v), mode=mode), groups


def _check(model: Model) -> None:
    rng = np.random.default_rng(0)
    value, gradient, groups = _density(model, rng)
    p = groups[0].coordinates.centre.size
    at = np.vstack([np.zeros(p), rng.uniform(-2, 2, (8, p))])
    # Finite at the middle and wherever chains start.
    logs, rows, terms = (np.array(found) for found in zip(*(value(v) for v in at), strict=True))
    gradients = np.array([gradient(v) for v in at])
    assert np.all(np.isfinite(logs)) and np.all(np.isfinite(gradients))
    np.testing.assert_allclose(logs, np.logaddexp.reduce(terms, axis=1))
    # Each group's term is the default engine's density of its models, by a change of variables.
    span, step = model.points.span, 1e-5 * np.eye(p)
    assert sorted(j for one in groups for j in one.models) == list(
        range(len(model.likelihood.noises))
    )
    expected = []
    for g, one in enumerate(groups):
        np.testing.assert_allclose(rows[:, g], one.coordinates.forward(at))

        def coordinates_of(v: np.ndarray, one: Group = one) -> np.ndarray:
            return decode(model.law, model.priors, span, np.atleast_2d(one.coordinates.forward(v)))

        jacobian = [
            np.linalg.slogdet((coordinates_of(v + step) - coordinates_of(v - step)) / 2e-5)[1]
            for v in at
        ]
        expected.append(one.part.log_target(coordinates_of(at), rng)[0] + np.array(jacobian))
    assert np.all(np.isfinite(expected))
    found, wanted = terms[:, : len(groups)], np.array(expected).T
    # All but one constant, which is the same for all groups.
    np.testing.assert_allclose(found - found[0, 0], wanted - wanted[0, 0], atol=2e-4)
    # Rough draws may lie next to a wall, where slopes change fast.
    near = 0.1 * step
    slopes = [[(value(v + s)[0] - value(v - s)[0]) / 2e-6 for s in near] for v in at[:3]]
    np.testing.assert_allclose(gradients[:3], slopes, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("law", ["logspace_power", "vanilla_power"])
@pytest.mark.parametrize("se", [None, SE], ids=["no errors", "errors"])
def test_density_of_nuts(model_of: Callable[..., Model], law: str, se: np.ndarray | None) -> None:
    _check(model_of(law=law, se=se))


@pytest.mark.parametrize("last", [Uniform(), Normal(0.1, 0.05), LogNormal(0.1, 0.5)])
def test_density_of_nuts_under_other_priors(
    model_of: Callable[..., Model], last: Uniform | Normal | LogNormal
) -> None:
    model = model_of()
    priors = Priors(last, Exponential(0.3), LogNormal(0.7, 0.8), "uniform", Exponential(1e-3))
    _check(Model(model.law, model.points, model.drops, priors, model.likelihood))


def test_density_of_nuts_for_a_precise_rising_run() -> None:
    # Its start draws once were of an impossible fit: every chain started at -inf.
    law = laws.get("vanilla_power")
    d = np.linspace(3.0, 60.0, 20)
    y = law.value(d, RISING) + 2e-4 * np.random.default_rng(0).standard_normal(20)
    drops = np.arange(7)
    _check(build_model(law, Points(d, y), drops, "auto", default_priors(law), None))


def test_a_map_and_its_derivatives() -> None:
    rng = np.random.default_rng(3)
    z = rng.standard_normal((2000, 4))
    z[:, 2] += 0.5 * z[:, 0] * z[:, 1]
    found = fit_map(np.sinh(0.3 + z @ np.tril(rng.normal(1.0, 0.3, (4, 4)))))
    step = 1e-6 * np.eye(4)
    for at in rng.standard_normal((5, 4)):
        x, log_jacobian, jacobian, slope = map_with_jacobian(at, found.flat)
        np.testing.assert_allclose(x, found.forward(at))
        numeric = np.array([found.forward(at + s) - found.forward(at - s) for s in step]).T / 2e-6
        np.testing.assert_allclose(jacobian, numeric, rtol=1e-5, atol=1e-6)
        assert log_jacobian == pytest.approx(np.linalg.slogdet(jacobian)[1])
        ends = [[map_with_jacobian(at + way * s, found.flat)[1] for s in step] for way in (1, -1)]
        np.testing.assert_allclose(slope, np.subtract(*ends) / 2e-6, rtol=1e-5, atol=1e-6)


def test_models_that_lie_apart_are_sampled_apart(model_of: Callable[..., Model]) -> None:
    model = model_of()
    kinds = np.array([one.kind for one in model.likelihood.noises])
    free = np.isin(kinds, ["white", "student_t"])
    rng = np.random.default_rng(1)
    # Correlated models with rough draws at 0 or at 5, but for one that has none.
    tied = np.flatnonzero(~free)
    noise = rng.choice(np.append(np.flatnonzero(free), tied[1:]), 4000)
    far = np.isin(noise, tied[1::2])
    x = rng.standard_normal((4000, 5)) + 5.0 * far[:, None] * np.array([0, 0, 0, 0, 1.0])
    groups = [set(one.models) for one in fit_groups(model, x, noise, 0.45)]
    assert groups[0] == set(np.flatnonzero(free))
    apart = set(tied[1::2])
    assert apart - {tied[0]} in groups[1:] or apart | {tied[0]} in groups[1:]
    assert set().union(*groups) == set(range(kinds.size))
    assert sum(len(one) for one in groups) == kinds.size
    # A coordinate that is the same in all draws.
    assert len(fit_groups(model, x * [1, 1, 1, 1, 0], noise, 0.45)) == 3
    # One kind of noise alone, and rough draws of a single model.
    for likelihood in ("white", "ar1", "student_t"):
        alone = model_of(likelihood=likelihood)
        (one, *more) = fit_groups(alone, x, np.zeros(4000, dtype=np.intp), 0.45)
        assert not more and set(one.models) == set(range(len(alone.likelihood.noises)))


@pytest.mark.parametrize(("rhat", "attempts"), [(3.0, 2), (float("nan"), 2), (1.05, 3)])
def test_chains_that_do_not_meet_are_not_made_longer(
    model_of: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, rhat: float, attempts: int
) -> None:
    pytest.importorskip("pymc")
    from sparsefit.bayes import nuts

    model, rng = model_of(), np.random.default_rng(0)
    start = flat_posterior(model, rng).sample.draws
    found = Sampling("nuts", 50.0, rhat=rhat, divergences=0, evaluated=4000, chains=4)
    made = []
    monkeypatch.setattr(nuts, "_attempt", lambda *_: made.append(1) or (start, found))
    assert nuts.sample_nuts(model, start, rng, 4000) == (start, found)
    assert len(made) == attempts


@pytest.mark.parametrize("law", ["logspace_power", "vanilla_power", "loss_power"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("se", [None, SE], ids=["no errors", "errors"])
def test_one_pass_likelihood_is_the_sum_of_the_table(
    law: str, likelihood: str, se: np.ndarray | None
) -> None:
    chosen = laws.get(law)
    # Growing gaps with one missing: neither even in tokens nor in their logarithms.
    d = np.delete(np.geomspace(2.0, 40.0, 15), 8)
    rng = np.random.default_rng(5)
    drops = np.array([0, 1, 2, 5])
    blank = Points(d, np.zeros(14))
    model = build_model(chosen, blank, drops, likelihood, default_priors(chosen), se)
    run = pack(model, fit_map(rng.standard_normal((10, 3 + chosen.n_shape))))
    change, alpha, log_sigma = 0.04, 0.6, np.log(4e-4)
    span = np.log(d[-1] / d[0])
    excess = 0.01 if chosen.n_shape == 2 else change / np.expm1(alpha * span)
    shape = [alpha, np.log1p(change / excess)][: chosen.n_shape]

    def value(at: np.ndarray) -> float:
        return log_likelihood(at, run)[0]

    at = np.array([0.3, change, excess, alpha, log_sigma])
    basis = chosen.basis(d, np.array([shape]), (d[0], d[-1]))[0]
    curve = at[0] + chosen.sign * ((change + excess) * basis - excess)
    y = curve + 5e-4 * rng.standard_normal(14)
    model = build_model(chosen, Points(d, y), drops, likelihood, default_priors(chosen), se)
    run = pack(model, fit_map(rng.standard_normal((10, 3 + chosen.n_shape))))
    table = model.likelihood.table(
        (y - curve)[None], np.array([change]), np.exp([log_sigma]), model.drops
    )
    prior = np.log([m.prior for m in model.likelihood.noises])
    expected = np.logaddexp.reduce((table[:, :, 0] + prior[:, None]).ravel())
    found, gradient = log_likelihood(at, run)
    assert found == pytest.approx(expected, rel=1e-10)
    step = 1e-6 * np.diag(np.maximum(np.abs(at), 1e-2))
    slopes = [(value(at + s) - value(at - s)) / (2 * s.max()) for s in step]
    np.testing.assert_allclose(gradient, slopes, rtol=2e-5, atol=2e-4)

"""Fits of many runs: a mapping with the verbs of `Fit`, returning tables with a `run` column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sparsefit.checks import check_tokens
from sparsefit.errors import ArgumentError, UnknownRunError, quoted
from sparsefit.estimation.notes import kind_of
from sparsefit.results.estimates import Budget, Limit
from sparsefit.results.fit import Fit
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    from pathlib import Path


def as_row(result: Limit | Budget, **more: Any) -> pd.DataFrame:
    """A limit or budget as a table of one row; infinite numbers stay numbers."""
    return pd.DataFrame([{**asdict(result), **more, "sentence": result.sentence}])


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Mapping[str, Fit]):
    """Fits by run name, in the order of the table.

    Attributes
    ----------
    fits : dict
        Run name to `Fit`.
    left_out : mapping
        Runs that could not be fitted, and why.
    """

    fits: dict[str, Fit]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, run: str) -> Fit:
        if run in self.left_out:
            raise UnknownRunError(f"left out: {self.left_out[run]}")
        if run not in self.fits:
            raise UnknownRunError(f"no run {quoted(run)}; runs: {', '.join(map(repr, self.fits))}")
        return self.fits[run]

    def __contains__(self, run: object) -> bool:
        return run in self.fits

    def __iter__(self) -> Iterator[str]:
        return iter(self.fits)

    def __len__(self) -> int:
        return len(self.fits)

    def _table(self, verb: Callable[[Fit], pd.DataFrame]) -> pd.DataFrame:
        tables = []
        for run, fit in self.fits.items():
            table = verb(fit)
            if "run" not in table:
                table = table.copy()
                table.insert(0, "run", run)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    @property
    def params(self) -> pd.DataFrame:
        """Coefficients, long form: ``run, law, term, estimate``."""
        return self._table(
            lambda f: pd.DataFrame(
                {"law": f.law.name, "term": f.params.index, "estimate": f.params.to_numpy()}
            )
        )

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors, long form: ``run, term, std_error``."""
        return self._table(
            lambda f: pd.DataFrame({"term": f.bse.index, "std_error": f.bse.to_numpy()})
        )

    def conf_int(
        self, level: float = 0.9, method: str = "integrated", rng: Rng = 0
    ) -> pd.DataFrame:
        """Intervals of the coefficients, see `Fit.conf_int`."""
        seed = seed_of(rng)
        return self._table(
            lambda f: f.conf_int(level, method, seed).rename_axis("term").reset_index()
        )

    def predict(self, tokens: ArrayLike) -> pd.DataFrame:
        """Mean curves: ``run, tokens, mean``."""
        counts = check_tokens(tokens)
        return self._table(lambda f: pd.DataFrame({"tokens": counts, "mean": f.predict(counts)}))

    def simulate(
        self, tokens: ArrayLike, kind: str = "observation", rng: Rng | None = None
    ) -> pd.DataFrame:
        """Draws of the curves or of new measurements, long form: ``run, draw, tokens, value``.

        Draws of different runs have nothing to do with each other; see `Fit.simulate`.
        """
        counts = check_tokens(tokens)
        seed = None if rng is None else seed_of(rng)

        def drawn(fit: Fit) -> pd.DataFrame:
            values = fit.simulate(counts, kind, seed)
            return pd.DataFrame(
                {
                    "draw": np.repeat(np.arange(len(values)), len(counts)),
                    "tokens": np.tile(counts, len(values)),
                    "value": values.ravel(),
                }
            )

        return self._table(drawn)

    def forecast(self, tokens: ArrayLike, level: float = 0.9) -> pd.DataFrame:
        """Forecasts, see `Fit.forecast`."""
        return self._table(lambda f: f.forecast(tokens, level))

    def derivative(
        self, tokens: ArrayLike, wrt: str = "tokens", level: float = 0.9
    ) -> pd.DataFrame:
        """Slopes of the curves, see `Fit.derivative`."""
        return self._table(lambda f: f.derivative(tokens, wrt, level))

    def limit(self, level: float = 0.9, method: str = "integrated", rng: Rng = 0) -> pd.DataFrame:
        """Limits, one row a run; see `Fit.limit`.

        Columns are the attributes of `Limit` (but ``bounds``), ``is_identified`` and ``sentence``.
        """
        seed = seed_of(rng)

        def row(fit: Fit) -> pd.DataFrame:
            limit = fit.limit(level, method, seed)
            return as_row(limit, is_identified=limit.is_identified).drop(columns="bounds")

        return self._table(row)

    def tokens_to(
        self,
        activation_ratio: float | None = None,
        sparsity: float | None = None,
        loss: float | None = None,
        level: float = 0.9,
    ) -> pd.DataFrame:
        """Token budgets, one row a run; see `Fit.tokens_to`.

        Columns are the attributes of `Budget` and ``sentence``.
        """
        return self._table(lambda f: as_row(f.tokens_to(activation_ratio, sparsity, loss, level)))

    def tokens_within(self, share: float = 0.05, level: float = 0.9) -> pd.DataFrame:
        """Tokens to come within a share of the limit; columns as in `tokens_to`."""
        return self._table(lambda f: as_row(f.tokens_within(share, level)))

    def points_table(self) -> pd.DataFrame:
        """Every row given, see `Fit.points_table`."""
        return self._table(lambda f: f.points_table())

    def warmup_sensitivity(self, level: float = 0.9) -> pd.DataFrame:
        """Limit for every choice of warm-up, see `Fit.warmup_sensitivity`."""
        return self._table(lambda f: f.warmup_sensitivity(level))

    def residuals(self) -> pd.DataFrame:
        """Residuals of the points after the warm-up: ``run, tokens, residual``."""
        return self._table(
            lambda f: pd.DataFrame({"tokens": f.tokens[f.n_warmup :], "residual": f.residuals()})
        )

    @property
    def notes(self) -> pd.DataFrame:
        """What a reader should know, one row a note: ``run, kind, note``; see `Fit.notes`."""
        rows = [(run, kind_of(note), str(note)) for run, fit in self.items() for note in fit.notes]
        return pd.DataFrame(rows, columns=["run", "kind", "note"])

    @property
    def misfit(self) -> pd.DataFrame:
        """Whether the points go against the law, one row a run: ``run, misfit``."""
        return self._table(lambda f: pd.DataFrame({"misfit": [f.misfit]}))

    def diagnostics(self) -> pd.DataFrame:
        """Residual diagnostics, one row a run."""

        def row(fit: Fit) -> pd.DataFrame:
            found = fit.diagnostics()
            return pd.DataFrame([{**found.to_dict(), "sentences": " ".join(found.sentences)}])

        return self._table(row)

    def tidy(self, level: float = 0.9) -> pd.DataFrame:
        """One row per run and coefficient, see `Fit.tidy`."""
        return self._table(lambda f: f.tidy(level))

    def glance(self, level: float = 0.9) -> pd.DataFrame:
        """One row per run, see `Fit.glance`."""
        return self._table(lambda f: f.glance(level))

    def summary(self, level: float = 0.9) -> str:
        """Plain-text summaries of all runs, and which were left out."""
        parts = [fit.summary(level) for fit in self.fits.values()]
        return "\n\n".join([*parts, *self._missing()])

    def _missing(self) -> list[str]:
        return [f"left out: {why}" for why in self.left_out.values()]

    def to_json(self, path: str | Path | None = None) -> str:
        """Write all fits as JSON; `sf.load_fit` reads them back."""
        from sparsefit.results.serialize import dump_fits

        return dump_fits(self, path)

    def __repr__(self) -> str:
        left = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"<{type(self).__name__} of {len(self)} runs: {', '.join(self.fits)}{left}>"

    def _repr_html_(self) -> str:
        keep: list[Any] = [
            "run",
            "law",
            "n_points",
            "n_warmup",
            "limit",
            "limit_lower",
            "limit_upper",
            "identified",
            "rmse",
        ]
        table = str(self.glance()[keep].to_html(index=False, float_format="{:.4g}".format))
        said = [f"{run}: {note}" for run, fit in self.fits.items() for note in fit.notes]
        items = "".join(f"<li>{escape(words)}</li>" for words in [*said, *self._missing()])
        return table + (f"<ul>{items}</ul>" if items else "")


def as_fits(fits: Fit | Mapping[str, Fit]) -> Fits:
    """Fits by run, whether there are one or many.

    `sf.fit` and `sf.fit_bayes` return a `Fit` for a table of one run and `Fits` for several. Code
    that loops over runs calls this first, and does not fail where a filter leaves one run.

    Parameters
    ----------
    fits : Fit, Fits or mapping of run to Fit
        What `sf.fit`, `sf.fit_bayes` or `sf.load_fit` returned, or fits by name.

    Returns
    -------
    Fits
        `fits` itself where it is one.

    Raises
    ------
    ArgumentError
        For anything else.

    Examples
    --------
    >>> import sparsefit as sf
    >>> table = sf.datasets.load("reference_scales")
    >>> found = sf.fit(table[table["run"] == "0.11m_relu_s0"])
    >>> [(run, fit.law.name) for run, fit in sf.as_fits(found).items()]
    [('0.11m_relu_s0', 'logspace_power')]
    """
    if isinstance(fits, Fits):
        return fits
    if isinstance(fits, Fit):
        return Fits({fits.run: fits})
    if isinstance(fits, Mapping) and fits and all(isinstance(one, Fit) for one in fits.values()):
        return Fits({str(run): one for run, one in fits.items()})
    raise ArgumentError(
        "as_fits takes what sf.fit or sf.fit_bayes returns, or a mapping of run to such a fit, "
        f"such as {{fit.run: fit for fit in fits}}; got {type(fits).__name__}"
    )

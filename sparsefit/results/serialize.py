"""Fits as JSON: written with their draws, read back without refitting."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import ArgumentError, quoted
from sparsefit.estimation.notes import Note, kind_of
from sparsefit.outputs import writable, write_whole
from sparsefit.results.frames import frame_from_dict, frame_to_dict

if TYPE_CHECKING:
    from sparsefit.backtesting import BestForecast
    from sparsefit.backtesting.registry import MethodsGiven
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits
    from sparsefit.width_depth import BreakpointFit, PosteriorFit

    Loaded: TypeAlias = Fit | Fits | BreakpointFit | PosteriorFit | BestForecast

FORMAT = 1


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Array as JSON: compressed bytes, dtype and shape."""
    array = np.asarray(array)
    kind = "<i8" if array.dtype.kind in "iu" else "<f8"
    raw = zlib.compress(np.ascontiguousarray(array.astype(kind)).tobytes(), 6)
    return {"dtype": kind, "shape": list(array.shape), "zlib": base64.b64encode(raw).decode()}


def unpack(packed: dict[str, Any]) -> NDArray[Any]:
    """Inverse of `pack`."""
    raw = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(raw, dtype=packed["dtype"]).reshape(packed["shape"]).copy()


def _optional(array: NDArray[Any] | None) -> dict[str, Any] | None:
    return None if array is None else pack(array)


def fit_to_dict(fit: Fit) -> dict[str, Any]:
    """Everything that a fit holds, JSON-ready."""
    best, averaged, draws = fit.least_squares, fit.averaged, fit.averaged.draws
    plain = {
        "run": fit.run,
        "law": fit.law.name,
        "law_reason": fit.law_reason,
        "frame": frame_to_dict(fit.frame),
        "points": {
            "d": pack(fit.points.d),
            "y": pack(fit.points.y),
            "relative_se": _optional(fit.points.relative_se),
            "robust_inflation": _optional(fit.points.robust_inflation),
        },
        "n_warmup": fit.n_warmup,
        "warmup": fit.warmup,
        "params": dict(zip(fit.law.parameter_names, map(float, best.theta), strict=True)),
        "least_squares": {
            "theta": pack(best.theta),
            "shape": pack(best.shape),
            "amplitude": best.amplitude,
            "limit": best.limit,
            "ssr": best.ssr,
            "bounds_hit": list(best.bounds_hit),
            "edge_form": best.edge_form,
        },
        "averaged": {
            "draws": {name: pack(values) for name, values in draws.arrays.items()},
            "span": list(draws.span),
            "noises": [vars(noise) for noise in averaged.noises],
            "likelihood": {
                "limit": pack(averaged.likelihood.limit),
                "relative": pack(averaged.likelihood.relative),
                "dof": averaged.likelihood.dof,
            },
            "drops": averaged.drops.tolist(),
            "drop_weight": averaged.drop_weight.tolist(),
            "noise_weight": averaged.noise_weight.tolist(),
            "log_evidence": averaged.log_evidence,
            "ess": averaged.ess,
            "prior_text": averaged.prior_text,
            "transient_weight": averaged.transient_weight,
            "white_drop": averaged.white_drop,
            "log_warmup_width": averaged.log_warmup_width,
        },
        "method": fit.method,
        "robust": fit.robust,
        "n_params": fit.n_params,
        "notes": list(fit.notes),
        "note_kinds": [kind_of(note) for note in fit.notes],
        "seed": fit.seed,
        "provenance": fit.provenance,
    }
    if fit.method == "fit_bayes":
        from sparsefit.bayes.serialize import posterior_to_dict

        plain["posterior"] = posterior_to_dict(fit)
    return plain


def fit_from_dict(plain: dict[str, Any]) -> Fit:
    """Inverse of `fit_to_dict`."""
    from sparsefit import laws
    from sparsefit.estimation.draws import Draws
    from sparsefit.estimation.engine import Averaged
    from sparsefit.estimation.least_squares import LeastSquares
    from sparsefit.estimation.limit_likelihood import LimitLikelihood
    from sparsefit.estimation.noise import NoiseModel
    from sparsefit.estimation.points import Points
    from sparsefit.results.fit import Fit

    law = laws.get(plain["law"])
    best, averaged, points = plain["least_squares"], plain["averaged"], plain["points"]
    draws = {name: unpack(packed) for name, packed in averaged["draws"].items()}
    arrays = {name: None if packed is None else unpack(packed) for name, packed in points.items()}
    fit = Fit(
        run=plain["run"],
        law=law,
        law_reason=plain["law_reason"],
        frame=frame_from_dict(plain["frame"]),
        points=Points(**arrays),  # type: ignore[arg-type]
        n_warmup=plain["n_warmup"],
        warmup=plain["warmup"],
        least_squares=LeastSquares(
            theta=unpack(best["theta"]),
            shape=unpack(best["shape"]),
            amplitude=best["amplitude"],
            limit=best["limit"],
            ssr=best["ssr"],
            bounds_hit=tuple(best["bounds_hit"]),
            edge_form=best["edge_form"],
        ),
        averaged=Averaged(
            draws=Draws(**draws, span=(averaged["span"][0], averaged["span"][1])),
            noises=tuple(
                NoiseModel(**{**noise, "outliers": tuple(noise.get("outliers", ()))})
                for noise in averaged["noises"]
            ),
            likelihood=LimitLikelihood(
                unpack(averaged["likelihood"]["limit"]),
                unpack(averaged["likelihood"]["relative"]),
                averaged["likelihood"]["dof"],
                law.limit_bounds,
            ),
            drops=np.array(averaged["drops"], dtype=np.intp),
            drop_weight=np.array(averaged["drop_weight"]),
            noise_weight=np.array(averaged["noise_weight"]),
            log_evidence=averaged["log_evidence"],
            ess=averaged["ess"],
            prior_text=averaged["prior_text"],
            transient_weight=averaged["transient_weight"],
            white_drop=averaged["white_drop"],
            log_warmup_width=averaged["log_warmup_width"],
        ),
        method=plain["method"],
        robust=plain["robust"],
        n_params=plain["n_params"],
        notes=tuple(map(Note, plain["notes"], plain["note_kinds"])),
        seed=plain["seed"],
        provenance=plain["provenance"],
    )
    if "posterior" not in plain:
        return fit
    from sparsefit.bayes.serialize import bayes_fit_from

    return bayes_fit_from(fit, plain["posterior"])


def write_document(content: dict[str, Any], path: str | Path | None) -> str:
    """Return fits as a JSON document; write it to a file where one is named."""
    words = json.dumps({"sparsefit_fit": FORMAT, **content}, allow_nan=False)
    if path is not None:
        write_whole(writable(path), words.encode())
    return words


def dump_fit(fit: Fit, path: str | Path | None = None) -> str:
    """See `Fit.to_json`."""
    return write_document({"fits": [fit_to_dict(fit)], "many": False}, path)


def dump_fits(
    fits: Fits, path: str | Path | None = None, pooled: dict[str, Any] | None = None
) -> str:
    """See `Fits.to_json`; `pooled` is what `PooledFits` hold beyond `Fits`, JSON-ready."""
    plain = [fit_to_dict(fit) for fit in fits.values()]
    content = {"fits": plain, "names": list(fits), "many": True, "left_out": dict(fits.left_out)}
    return write_document(content if pooled is None else {**content, "pooled": pooled}, path)


def load_fit(source: str | Path, *, methods: MethodsGiven | None = None) -> Loaded:
    """Read a fit written by `to_json`.

    Parameters
    ----------
    source : path-like or str
        A file, or the JSON document itself.
    methods : functions or a mapping, optional
        For a forecast of `sf.forecast_best` with methods of your own, which a file cannot hold:
        these methods, in any of the forms in which `sf.forecast_best` took them. Methods that are
        made known by `sf.register_method`, or that take no part, need not be given.

    Returns
    -------
    Fit, Fits, PooledFits, BreakpointFit, PosteriorFit or BestForecast
        What was written. Forecasts, intervals and draws are those of the original.

    Raises
    ------
    ArgumentError
        If the document is not one of ours, is damaged or of a later format, or if it needs methods
        that are not given.
    """
    if not isinstance(source, str | os.PathLike):
        raise ArgumentError(f"a path or a JSON document is expected, got {quoted(source)}")
    words = os.fspath(source)
    if not words.lstrip().startswith("{"):
        try:
            words = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"cannot read the fit {str(source)!r}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ArgumentError(f"{str(source)!r} is not a fit: it is not UTF-8 text") from None
    try:
        document = json.loads(words)
        version = document["sparsefit_fit"]
    except (ValueError, KeyError, TypeError):
        raise ArgumentError("not a fit written by sparsefit's to_json") from None
    if version != FORMAT:
        raise ArgumentError(
            f"the fit was written in format {quoted(version)}, this release reads {FORMAT}: "
            "update sparsefit"
        )
    try:
        return _read(document, methods)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, zlib.error) as error:
        # A registered law or an argument that is missing says so itself.
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            f"the fit is damaged, something in it is missing or of another kind ({error!r}): write "
            "it again with to_json"
        ) from error


def _read(document: dict[str, Any], methods: MethodsGiven | None) -> Loaded:
    if "forecast_best" in document:
        from sparsefit.backtesting.serialize import best_from

        return best_from(document["forecast_best"], methods)
    if methods is not None:
        raise ArgumentError(
            "methods: only forecasts of sf.forecast_best have methods, and this is none"
        )
    if "fits" not in document:
        from sparsefit.width_depth.serialize import width_depth_from

        return width_depth_from(document)
    found = [fit_from_dict(one) for one in document["fits"]]
    if not document["many"]:
        return found[0]
    # By name and not by run: a mapping can name two fits of one run.
    fits = dict(zip(document["names"], found, strict=True))
    left_out = document["left_out"]
    if "pooled" in document:
        from sparsefit.bayes.serialize import pooled_fits_from

        return pooled_fits_from(fits, left_out, document["pooled"])
    from sparsefit.results.fits import Fits

    return Fits(fits, left_out)


def by_run(plain: list[dict[str, Any]]) -> dict[str, Fit]:
    """Fits by run from the outputs of `fit_to_dict`."""
    fits = [fit_from_dict(one) for one in plain]
    return {fit.run: fit for fit in fits}

"""Sweeps on one model: response to CETT (Fig. 15), all metrics against each other (Fig. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.activations import EXACT_ZEROS, activation_name
from sparsefit.collectors.calibrate import Calibration, Plan
from sparsefit.collectors.checkpoint_measure import (
    LoadedCheckpoint,
    calibrate_covering,
    thresholds_at,
)
from sparsefit.collectors.forward import Losses, checked_batch_size, flatten, forward_losses
from sparsefit.collectors.functional import ActivationOutputs
from sparsefit.collectors.rules import ForcedThreshold, NonZero, OutputNorm, Rule, TopK
from sparsefit.collectors.sites import Site
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ArgumentError, quoted

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_CETT = (0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
DEFAULT_RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SAMPLE_TOKENS = 1024


def response_curve(
    model: nn.Module,
    text: EvaluationText,
    cett: Sequence[float] = DEFAULT_CETT,
    *,
    pattern: str | None = None,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Perplexity and activation ratio against CETT, from one calibration pass.

    On small texts a further pass for each value makes thresholds exact.

    Parameters
    ----------
    model, text
        Model and evaluation text.
    cett : sequence of float
        CETT values strictly between 0 and 1.
    pattern : str, optional
        Site pattern.
    batch_size : int, optional
        Windows per batch.

    Returns
    -------
    pandas.DataFrame
        One row per value, ascending: ``cett``, ``activation_ratio``, ``loss_dense``,
        ``loss_sparse``, ``ppl_ratio``.

    Raises
    ------
    ArgumentError
        Values outside of (0, 1), or a text that is no `EvaluationText`.
    ModelError
        The model is not supported (`find_sites`).
    TextError
        The text was tokenized for another model.
    CurveRangeError
        A layer has too few active neurons on this text to have the CETT.
    """
    import pandas as pd

    loaded = LoadedCheckpoint.of(model, text, checked_batch_size(batch_size, text), pattern=pattern)
    values = _ascending("cett", cett)
    calibration = _calibrate(loaded, text, values)
    rows = []
    for value in values:
        rule = _cett_rule(loaded, text, calibration, value)
        rows.append({"cett": value, **_point(loaded, text, rule, calibration.losses)})
    return pd.DataFrame(rows)


def pareto_sweep(
    model: nn.Module,
    text: EvaluationText,
    *,
    cett: Sequence[float] = DEFAULT_CETT,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    pattern: str | None = None,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Perplexity against activation ratio for every metric that the model allows.

    Parameters
    ----------
    model, text
        Model and evaluation text.
    cett : sequence of float
        Settings of ``cett``.
    ratios : sequence of float
        Activation ratios for ``topk`` (up to a whole number of neurons) and ``fat`` (about: its
        threshold comes from the dense run).
    pattern, batch_size
        As in `response_curve`.

    Returns
    -------
    pandas.DataFrame
        ``metric``, ``setting`` (CETT, k, or eps), ``activation_ratio``, ``loss_dense``,
        ``loss_sparse``, ``ppl_ratio``. ``relu_zero`` is one row, only for models with exact zeros.

    Raises
    ------
    ArgumentError, ModelError, TextError, CurveRangeError
        As in `response_curve`; also for a model without activation modules.
    """
    import pandas as pd

    shares = _ascending("ratios", ratios)
    if not all(0 < share <= 1 for share in shares):
        raise ArgumentError(f"ratios must lie in (0, 1]: {quoted(tuple(shares))}")
    loaded = LoadedCheckpoint.of(model, text, checked_batch_size(batch_size, text), pattern=pattern)
    calibration = _calibrate(loaded, text, _ascending("cett", cett))
    rules: list[tuple[str, float, Rule]] = []
    for value in calibration.targets:
        rules.append(("cett", value, _cett_rule(loaded, text, calibration, value)))
    for share in shares:
        k = max(1, round(share * min(site.d_ff for site in loaded.sites)))
        rules.append(("topk", float(k), TopK(k)))
    for eps in activation_thresholds(loaded, text, shares):
        rules.append(("fat", eps, ForcedThreshold(eps)))
    if activation_name(model, loaded.sites) in EXACT_ZEROS:
        rules.append(("relu_zero", math.nan, NonZero()))
    rows = [
        {"metric": name, "setting": setting, **_point(loaded, text, rule, calibration.losses)}
        for name, setting, rule in rules
    ]
    return pd.DataFrame(rows)


def activation_thresholds(
    loaded: LoadedCheckpoint, text: EvaluationText, ratios: Sequence[float]
) -> list[float]:
    """Global thresholds on ``|s_i|`` that keep given shares of neurons in the dense run.

    Quantiles over all layers of a sample of tokens. Shares above that of the non-zero activations
    give the same threshold; it is returned once.
    """
    part = text.spread(_SAMPLE_TOKENS)
    sizes: list[torch.Tensor] = []

    outputs = ActivationOutputs()

    def keep(site: Site, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        s = outputs.take(site, flatten(args[0]))
        # A stride that does not divide the width meets every neuron.
        stride = next((stride for stride in (7, 5, 3) if s.shape[-1] % stride), 1)
        sizes.append(s.detach().abs().float().reshape(-1)[::stride].clone())

    with ExitStack() as stack:
        outputs.watch(loaded.sites, stack)
        for site in loaded.sites:
            hook = partial(keep, site)
            stack.callback(site.projection.register_forward_pre_hook(hook).remove)
        forward_losses(loaded.model, part, loaded.batch_size)
    values = np.sort(torch.cat([size.cpu() for size in sizes]).numpy())
    picks = [values[min(values.size - 1, int((1 - ratio) * values.size))] for ratio in ratios]
    return sorted({float(pick) for pick in picks}, reverse=True)


def _ascending(name: str, values: Sequence[float]) -> list[float]:
    """Return numbers in ascending order, each once."""
    try:
        return [float(value) for value in np.unique(np.asarray(values, dtype=float))]
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be a sequence of numbers, got {quoted(values)}") from None


def _calibrate(
    loaded: LoadedCheckpoint, text: EvaluationText, cett: Sequence[float]
) -> Calibration:
    return calibrate_covering(loaded, text, Plan(tuple(cett), (0.8, 1.0, 1.25)), cett)


def _cett_rule(
    loaded: LoadedCheckpoint, text: EvaluationText, calibration: Calibration, cett: float
) -> Rule:
    return OutputNorm(loaded.sites, thresholds_at(loaded, text, calibration, cett)[0])


def _point(
    loaded: LoadedCheckpoint, text: EvaluationText, rule: Rule, dense: Losses
) -> dict[str, float]:
    run = loaded.run(text, rule)
    return {
        "activation_ratio": run.activation_ratio,
        "loss_dense": dense.mean,
        "loss_sparse": run.losses.mean,
        "ppl_ratio": math.exp(run.losses.mean - dense.mean),
    }

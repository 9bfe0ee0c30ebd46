"""Measuring one checkpoint: calibrations and sparse evaluations as storable records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.calibrate import Calibration, Plan, calibrate
from sparsefit.collectors.curve import CurveRangeError
from sparsefit.collectors.exact import exact_thresholds
from sparsefit.collectors.forward import Losses, vocabulary_size, with_batch_size
from sparsefit.collectors.masking import SparseRun, run_sparse
from sparsefit.collectors.rules import OutputNorm, Rule
from sparsefit.collectors.sites import Site, count_parameters, find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.trial import try_model
from sparsefit.collectors.uncertainty import Influence, influence
from sparsefit.errors import CheckpointError

# Beyond this distance in log CETT from a calibration's target the curve rests on the token sample
# alone, and a new calibration is made.
REACH = 0.4
# Log CETT, relative to where the root is expected, at which a wide calibration's tokens take turns.
_TURNS = np.arange(-4, 5) * (REACH / 4)
# Under this many tokens, two thresholds for each are too few for 1e-4 in CETT: they are evaluated
# at all, which costs less than two at each token of a longer text and the rest of a solve there.
_FEW_TOKENS = 8192
# Up to this many hidden states (tokens x neurons of all layers) a further pass is cheap, and makes
# thresholds exact where a small text's curves are all kinks.
EXACT_STATES = 40_000_000


@dataclass(eq=False)
class LoadedCheckpoint:
    """A model in memory, its sites and the batch size that fits.

    Attributes
    ----------
    model : torch.nn.Module
        The model.
    sites : tuple of Site
        Its feed-forward sites.
    batch_size : int
        Windows per batch; halved when memory runs out.
    advance : callable or None
        Progress callback.
    """

    model: nn.Module
    sites: tuple[Site, ...]
    batch_size: int
    advance: Callable[[int], None] | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        text: EvaluationText,
        batch_size: int,
        *,
        pattern: str | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> LoadedCheckpoint:
        """Find a model's sites, check the text's vocabulary, and try both on a few tokens."""
        sites = find_sites(model, pattern)
        text.check_vocabulary(vocabulary_size(model))
        return cls(model, try_model(model, sites, text), batch_size, advance)

    def calibrate(self, text: EvaluationText, plan: Plan) -> Calibration:
        """Run a calibration pass (see `calibrate`)."""
        result, self.batch_size = with_batch_size(
            lambda size: calibrate(
                self.model, self.sites, text, plan, batch_size=size, advance=self.advance
            ),
            self.batch_size,
        )
        return result

    def exact_thresholds(
        self, text: EvaluationText, guesses: np.ndarray, cett: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exact thresholds and the CETT that they give (see `exact.exact_thresholds`)."""
        result, self.batch_size = with_batch_size(
            lambda size: exact_thresholds(
                self.model,
                self.sites,
                text,
                guesses,
                cett,
                batch_size=size,
                advance=self.advance,
            ),
            self.batch_size,
        )
        return result

    def run(self, text: EvaluationText, rule: Rule) -> SparseRun:
        """Run a sparse pass (see `run_sparse`)."""
        result, self.batch_size = with_batch_size(
            lambda size: run_sparse(
                self.model, self.sites, text, rule, batch_size=size, advance=self.advance
            ),
            self.batch_size,
        )
        return result

    def describe(self) -> dict[str, Any]:
        """Columns of the table that the model itself decides."""
        widths = {site.d_ff for site in self.sites}
        return {
            "activation": activation_name(self.model, self.sites),
            "n_params": count_parameters(self.model, self.sites),
            "hidden_size": self.sites[0].d_model,
            "n_layers": len(self.sites),
            # Layers of different widths have no common one.
            "d_ff": widths.pop() if len(widths) == 1 else None,
        }


@dataclass(frozen=True, eq=False)
class Measurement:
    """One checkpoint at one setting.

    Attributes
    ----------
    cett : float
        CETT value (NaN for metrics without one).
    thresholds, layer_cett, layer_ratio : numpy.ndarray
        Per layer: threshold on ``||n_i||`` (NaN without), CETT, activation ratio; shape (layers,).
    loss_dense, loss_sparse : Losses
        Losses by window.
    active : numpy.ndarray
        Activation ratio by window and layer, shape (windows, layers).
    relative_cett : numpy.ndarray
        CETT of each window over that of the text, shape (windows, layers).
    curve_slope, active_slope : numpy.ndarray
        Derivatives of log CETT and activation ratio by log threshold, shape (layers,).
    window_tokens : numpy.ndarray
        Counted tokens by window.
    """

    cett: float
    thresholds: np.ndarray
    layer_cett: np.ndarray
    layer_ratio: np.ndarray
    loss_dense: Losses
    loss_sparse: Losses
    active: np.ndarray
    relative_cett: np.ndarray
    curve_slope: np.ndarray
    active_slope: np.ndarray
    window_tokens: np.ndarray

    @property
    def log_ratio(self) -> float:
        """Log perplexity ratio, sparse over dense."""
        return self.loss_sparse.mean - self.loss_dense.mean

    @property
    def activation_ratio(self) -> float:
        """Activation ratio, averaged over tokens, then layers."""
        return float(self.layer_ratio.mean())

    def influence(self, loss_slope: float) -> Influence:
        """Influence of each window (see `uncertainty.influence`)."""
        return influence(
            window_tokens=self.window_tokens,
            active=self.active,
            predicted=self.loss_dense.counts,
            loss_difference=self.loss_sparse.sums - self.loss_dense.sums,
            relative_cett=self.relative_cett,
            curve_slope=self.curve_slope,
            active_slope=self.active_slope,
            loss_slope=loss_slope,
        )


def dense_plan(cett: float, *, wide: bool) -> Plan:
    """Plan a calibration around a CETT: `wide` where the root is still being looked for."""
    centre = min(cett, 0.999)
    if not wide:
        return Plan((centre,), (0.8, 0.94, 1.06, 1.25))
    # Nearly exact wherever the root may turn out to be: what is measured there in the end must
    # compare with checkpoints that were calibrated at the root itself.
    return Plan((centre,), (0.55, 1.8), sample_tokens=768, turns=tuple(np.exp(_TURNS)))


def measure_at(
    loaded: LoadedCheckpoint, text: EvaluationText, calibration: Calibration, cett: float
) -> Measurement:
    """Apply a CETT value: thresholds from the dense curves, one sparse pass through all layers.

    Raises
    ------
    CheckpointError
        Every neuron of the model is inactive at every token.
    """
    thresholds, reached = thresholds_at(loaded, text, calibration, cett)
    result = loaded.run(text, OutputNorm(loaded.sites, thresholds))
    usable = [c if 0 < cett < 1 else None for c in calibration.curves]
    target = int(np.argmin([abs(math.log(max(cett, 1e-9) / t)) for t in calibration.targets]))
    factor = calibration.window_cett[target]
    mean = calibration.window_tokens @ factor / calibration.window_tokens.sum()
    return Measurement(
        cett=cett,
        thresholds=thresholds,
        layer_cett=reached,
        layer_ratio=_some_active(result),
        loss_dense=calibration.losses,
        loss_sparse=result.losses,
        active=result.active,
        relative_cett=factor / np.where(mean > 0, mean, 1.0),
        curve_slope=np.array(
            [np.nan if c is None else c.slope(t) for c, t in zip(usable, thresholds, strict=True)]
        ),
        active_slope=np.array(
            [
                0.0 if c is None else c.active_slope(t)
                for c, t in zip(usable, thresholds, strict=True)
            ]
        ),
        window_tokens=calibration.window_tokens,
    )


def measure_rule(
    loaded: LoadedCheckpoint, text: EvaluationText, rule: Rule, dense: Losses
) -> Measurement:
    """Apply a rule that has no CETT (relu_zero, topk, fat)."""
    result = loaded.run(text, rule)
    layers = len(loaded.sites)
    return Measurement(
        cett=math.nan,
        thresholds=np.full(layers, np.nan),
        layer_cett=np.full(layers, np.nan),
        layer_ratio=_some_active(result),
        loss_dense=dense,
        loss_sparse=result.losses,
        active=result.active,
        relative_cett=np.ones_like(result.active),
        curve_slope=np.full(layers, np.nan),
        active_slope=np.zeros(layers),
        window_tokens=result.window_tokens,
    )


def calibration_reaches(calibration: Calibration, cett: float) -> bool:
    """Whether a calibration is exact enough at a CETT (near a target, inside every curve)."""
    near = any(abs(math.log(cett / target)) <= REACH for target in calibration.targets)
    return near and calibration.covers(cett)


def calibrate_at(
    loaded: LoadedCheckpoint, text: EvaluationText, cett: float, *, wide: bool
) -> Calibration:
    """Calibrate around a CETT (`calibrate_covering`)."""
    plan = dense_plan(cett, wide=wide)
    if wide and text.n_tokens < _FEW_TOKENS and not _made_exact(loaded, text):
        plan = replace(plan, sample_tokens=text.n_tokens)
    return calibrate_covering(loaded, text, plan, [min(cett, 0.999)])


def calibrate_covering(
    loaded: LoadedCheckpoint, text: EvaluationText, plan: Plan, wanted: Sequence[float]
) -> Calibration:
    """Calibrate; once more with every token where the sample misses a CETT that is wanted.

    Raises
    ------
    CurveRangeError
        A layer's CETT jumps over a value: it has too few active neurons on this text.
    """
    everything = replace(
        plan, ratios=(0.1, 0.3, *plan.ratios, 3.0, 10.0), sample_tokens=text.n_tokens
    )
    try:
        calibration = loaded.calibrate(text, plan)
        if all(map(calibration.covers, wanted)):
            return calibration
    except CurveRangeError:
        pass
    calibration = loaded.calibrate(text, everything)
    for cett in wanted:
        bad = [
            layer
            for layer, curve in enumerate(calibration.curves)
            if not curve.range[0] <= cett <= curve.range[1]
        ]
        if bad:
            raise CurveRangeError(
                f"CETT {cett:.6g} is not reached by any threshold in layers {bad}: too few "
                "neurons are active on this text"
            )
    return calibration


def thresholds_at(
    loaded: LoadedCheckpoint, text: EvaluationText, calibration: Calibration, cett: float
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds of a CETT and the CETT that they give, by layer; exact on small texts."""
    dead = np.array([curve.dead for curve in calibration.curves])
    thresholds = calibration.thresholds(cett)
    reached = np.where(dead, 0.0, cett)
    if _made_exact(loaded, text) and 0 < cett < 1:
        exact = loaded.exact_thresholds(text, np.where(dead, np.nan, thresholds), cett)
        thresholds = np.where(dead, thresholds, exact[0])
        reached = np.where(dead, 0.0, exact[1])
    return thresholds, reached


def _made_exact(loaded: LoadedCheckpoint, text: EvaluationText) -> bool:
    """Whether a further pass makes thresholds exact, whatever the curves say."""
    return text.n_tokens * sum(site.d_ff for site in loaded.sites) <= EXACT_STATES


def _some_active(result: SparseRun) -> np.ndarray:
    if result.activation_ratio <= 0:
        raise CheckpointError(
            "no neuron is active at any token: an activation ratio of 0 is not a measurement "
            "(is the model untrained, or the CETT or threshold too large?)"
        )
    return result.layer_ratio

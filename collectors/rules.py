"""Which neurons stay: rules that decide layer by layer and token by token.

A rule sees the input ``h`` of the output projection and, where it needs it, the activation's own
output ``s = sigma(W_gate x)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.activations import EXACT_ZEROS, activation_name
from sparsefit.collectors.curve import TINY
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.sites import Site
from sparsefit.errors import ArgumentError, ModelError, quoted


class Rule(Protocol):
    """Which neurons stay active."""

    needs_activation: bool

    def keep(self, layer: int, hidden: torch.Tensor, s: torch.Tensor | None) -> torch.Tensor:
        """Return the mask of kept neurons, shape of `hidden`, (positions, d_ff), boolean."""
        ...


class OutputNorm:
    """Keep neurons with ``||n_i|| >= eps`` (Eq. 3), one threshold per layer.

    Raises
    ------
    ArgumentError
        Not one non-negative number per layer.
    """

    needs_activation = False

    def __init__(self, sites: Sequence[Site], thresholds: Sequence[float] | np.ndarray) -> None:
        try:
            values = np.asarray(thresholds, dtype=float)
        except (TypeError, ValueError):
            raise ArgumentError(f"thresholds must be numbers, got {quoted(thresholds)}") from None
        if values.shape != (len(sites),):
            raise ArgumentError(
                f"{values.size} thresholds for a model of {len(sites)} layers: give one per layer"
            )
        if np.isnan(values).any() or (values < 0).any():
            raise ArgumentError("thresholds must be non-negative numbers")
        # |h| >= eps / ||W_out[:, i]|| saves a product per neuron. A column of norm 0 gives
        # infinity: its neuron contributes nothing and is never active.
        self.limits = [
            (max(value, TINY) / site.column_norms()).clamp_min(TINY)
            for site, value in zip(sites, values, strict=True)
        ]

    def keep(self, layer: int, hidden: torch.Tensor, s: torch.Tensor | None) -> torch.Tensor:
        """See `Rule.keep`."""
        # In float32 for states of any dtype: a limit rounded to bfloat16 is 0.2% off.
        return hidden.abs() >= self.limits[layer].to(hidden.device)


class NonZero:
    """Keep neurons whose activation is not exactly zero: the plain ReLU metric (Section 4.1)."""

    needs_activation = True

    def keep(self, layer: int, hidden: torch.Tensor, s: torch.Tensor | None) -> torch.Tensor:
        """See `Rule.keep`."""
        assert s is not None
        return s != 0


class TopK:
    """Keep the k neurons of largest ``|s_i|`` per token and layer (Section 4.1)."""

    needs_activation = True

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ArgumentError(f"k={k}: keep at least one neuron")
        self.k = k

    def keep(self, layer: int, hidden: torch.Tensor, s: torch.Tensor | None) -> torch.Tensor:
        """See `Rule.keep`."""
        assert s is not None
        if self.k > s.shape[-1]:
            raise ArgumentError(f"k={self.k} exceeds the layer's {s.shape[-1]} neurons")
        # By index, so that ties (ReLU zeros) never push the count above k.
        index = s.abs().topk(self.k, dim=-1, sorted=False).indices
        return torch.zeros_like(s, dtype=torch.bool).scatter_(-1, index, True)


class ForcedThreshold:
    """Keep neurons with ``|s_i| >= eps``, one threshold for all layers: FAT-eps (Section 4.1)."""

    needs_activation = True

    def __init__(self, eps: float) -> None:
        if not eps >= 0:
            raise ArgumentError(f"eps={eps}: give a non-negative threshold")
        self.eps = eps

    def keep(self, layer: int, hidden: torch.Tensor, s: torch.Tensor | None) -> torch.Tensor:
        """See `Rule.keep`."""
        assert s is not None
        return s.abs() >= max(self.eps, TINY)


def check_relu(model: nn.Module, sites: Sequence[Site]) -> None:
    """Raise ModelError unless the model's activation has exact zeros."""
    name = activation_name(model, sites)
    if name not in EXACT_ZEROS:
        raise ModelError(
            f"relu_zero counts exact zeros; this model's activation is {name}, which has none. "
            "Use the metric cett_ppl"
        )


def rule_of(settings: Settings) -> Rule:
    """Return the rule of a metric that has no CETT (relu_zero, topk, fat)."""
    if settings.metric == "topk":
        assert settings.k is not None
        return TopK(settings.k)
    if settings.metric == "fat":
        assert settings.eps is not None
        return ForcedThreshold(settings.eps)
    return NonZero()

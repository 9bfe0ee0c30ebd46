"""The paper's measurement, written down as plainly as possible: for tests and for doubt.

Everything is recomputed whenever it is needed, hidden states are stored whole, one window runs at a
time, and no code is shared with the fast path but the search for sites. It costs about a hundred
dense passes; use it on small texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.forward import logits_of
from sparsefit.collectors.sites import Site, find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.weights import computing_device


@dataclass(frozen=True, eq=False)
class ReferenceRun:
    """A sparse run of the reference.

    Attributes
    ----------
    loss : float
        Mean cross-entropy, nats.
    thresholds : numpy.ndarray
        Per-layer thresholds on ``||n_i||``, shape (layers,).
    layer_ratio : numpy.ndarray
        Activation ratio of each layer, shape (layers,).
    """

    loss: float
    thresholds: np.ndarray
    layer_ratio: np.ndarray

    @property
    def activation_ratio(self) -> float:
        """Mean over layers."""
        return float(self.layer_ratio.mean())


def find_cett(
    models: Sequence[nn.Module],
    text: EvaluationText,
    p_percent: float,
    *,
    eps: float = 1e-3,
) -> float:
    """Algorithm 1 (Appendix F): the CETT at which mean perplexity rises by p%.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        The checkpoints.
    text : EvaluationText
        Validation text.
    p_percent : float
        Tolerance, percent.
    eps : float
        Width at which the binary search stops.
    """
    left, right = 0.0, 1.0
    while right - left > eps:
        middle = (left + right) / 2
        ratios = []
        for model in models:
            dense, _ = dense_run(model, text)
            sparse = sparse_run(model, text, middle)
            ratios.append(np.exp(sparse.loss - dense))
        if np.mean(ratios) < 1 + p_percent / 100:
            left = middle
        else:
            right = middle
    return (left + right) / 2


def dense_run(model: nn.Module, text: EvaluationText) -> tuple[float, list[torch.Tensor]]:
    """Return the mean dense loss and each layer's hidden states at counted tokens."""
    sites = find_sites(model)
    stored: list[list[torch.Tensor]] = [[] for _ in sites]
    current: list[np.ndarray] = []

    def store(site: Site) -> Any:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            hidden = args[0].reshape(-1, args[0].shape[-1])
            stored[site.layer].append(hidden[torch.from_numpy(current[0])].float())

        return hook

    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(_Hook(site.projection, store(site)))
        loss = _loss(model, text, current)
    return loss, [torch.cat(parts) for parts in stored]


def layer_cett(hidden: torch.Tensor, weight: torch.Tensor, eps: float) -> float:
    """CETT of a layer (Eq. 3), mean over tokens.

    Parameters
    ----------
    hidden : torch.Tensor
        Inputs of the output projection, (tokens, d_ff).
    weight : torch.Tensor
        ``W_out``, (d_model, d_ff).
    eps : float
        Threshold on ``||n_i||``.
    """
    norms = weight.norm(dim=0)
    weak = hidden * (hidden.abs() * norms < eps)
    skipped = (weak @ weight.t()).norm(dim=1).double()
    total = (hidden @ weight.t()).norm(dim=1).double()
    ratio = torch.zeros_like(total)
    ratio[total > 0] = skipped[total > 0] / total[total > 0]
    return float(ratio.mean())


def layer_threshold(hidden: torch.Tensor, weight: torch.Tensor, cett: float) -> float:
    """Largest threshold whose CETT is still under `cett`, by bisection (relative width 1e-7)."""
    low = 0.0
    high = float((hidden.abs() * weight.norm(dim=0)).max()) * 1.001
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        if layer_cett(hidden, weight, middle) < cett:
            low = middle
        else:
            high = middle
    return low


def sparse_run(model: nn.Module, text: EvaluationText, cett: float) -> ReferenceRun:
    """Thresholds from the dense model's hidden states, then one run with all layers sparse."""
    sites = find_sites(model)
    _, hidden = dense_run(model, text)
    weights = [site.weight.float().to(h.device) for site, h in zip(sites, hidden, strict=True)]
    thresholds = [layer_threshold(h, w, cett) for h, w in zip(hidden, weights, strict=True)]
    kept: list[list[float]] = [[] for _ in sites]
    current: list[np.ndarray] = []

    def skip(site: Site) -> Any:
        norms = weights[site.layer].norm(dim=0)

        def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            size = args[0].abs() * norms
            # A neuron whose output is exactly zero is skipped at any threshold.
            mask = (size >= thresholds[site.layer]) & (size > 0)
            flat = mask.reshape(-1, mask.shape[-1])[torch.from_numpy(current[0])]
            kept[site.layer].extend(flat.double().mean(dim=1).cpu().tolist())
            return (args[0] * mask, *args[1:])

        return hook

    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(_Hook(site.projection, skip(site)))
        loss = _loss(model, text, current)
    return ReferenceRun(loss, np.array(thresholds), np.array([np.mean(values) for values in kept]))


class _Hook:
    def __init__(self, module: nn.Module, call: Any) -> None:
        self.handle = module.register_forward_pre_hook(call)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        self.handle.remove()


@torch.no_grad()
def _loss(model: nn.Module, text: EvaluationText, current: list[np.ndarray]) -> float:
    """Mean loss over predicted tokens; `current` tells the hooks which positions count."""
    total, count = 0.0, 0
    for tokens, counted in zip(text.tokens, text.counted, strict=True):
        current[:] = [counted]
        ids = torch.from_numpy(tokens)[None].to(computing_device(model))
        scores = logits_of(model, ids)[0, :-1].float().log_softmax(dim=-1)
        losses = -scores.gather(1, ids[0, 1:, None].to(scores.device))[:, 0]
        total += float(losses[torch.from_numpy(counted[1:])].double().sum())
        count += int(counted[1:].sum())
    return total / count

"""Running a model with its weakly contributing neurons skipped, and counting the others.

Which neurons stay is a rule's decision (`rules`); here the others are set to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.blocks import ROWS, Buffers, release_gaps
from sparsefit.collectors.evaluating import hooks_run
from sparsefit.collectors.forward import Batch, Losses, flatten, forward_losses
from sparsefit.collectors.functional import ActivationOutputs
from sparsefit.collectors.rules import OutputNorm, Rule
from sparsefit.collectors.sites import Site, called_often, find_sites, not_called
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ModelError


@dataclass(frozen=True, eq=False)
class SparseRun:
    """Losses and activity of one sparse pass.

    Attributes
    ----------
    losses : Losses
        Losses with the skipped neurons set to zero.
    active : numpy.ndarray
        Activation ratio of each window and layer, fraction, shape (windows, layers).
    window_tokens : numpy.ndarray
        Counted tokens of each window, shape (windows,).
    """

    losses: Losses
    active: np.ndarray
    window_tokens: np.ndarray

    @property
    def layer_ratio(self) -> np.ndarray:
        """Activation ratio of each layer, averaged over tokens, shape (layers,)."""
        return self.window_tokens @ self.active / self.window_tokens.sum()

    @property
    def activation_ratio(self) -> float:
        """Activation ratio averaged over tokens, then layers."""
        return float(self.layer_ratio.mean())


Observer = Callable[[int, torch.Tensor, Batch], None]


def run_sparse(
    model: nn.Module,
    sites: Sequence[Site],
    text: EvaluationText,
    rule: Rule,
    *,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
    observe: Observer | None = None,
) -> SparseRun:
    """Run a model over a text under a rule.

    Parameters
    ----------
    model, sites, text
        Model, its sites, evaluation text.
    rule : Rule
        Which neurons stay.
    batch_size : int
        Windows per batch.
    advance : callable, optional
        Progress callback (tokens done).
    observe : callable, optional
        Called as ``observe(layer, mask, batch)`` with the mask over all positions of the batch.

    Returns
    -------
    SparseRun
    """
    # NaN until a layer has reported: a rule that was not applied must not pass for one that was.
    active = np.full((text.n_windows, len(sites)), np.nan)
    window_tokens = text.counted.sum(axis=1).astype(float)
    current: list[Batch] = []

    def on_batch(batch: Batch) -> None:
        current[:] = [batch]

    def count(layer: int, kept: torch.Tensor) -> None:
        batch = current[0]
        if kept.shape[0] != batch.counted.shape[0]:
            raise ModelError(f"{sites[layer].name}: the model drops or packs positions")
        if not np.isnan(active[batch.start, layer]):
            raise called_often(sites[layer])
        if not batch.complete:
            kept = kept * batch.counted_on(kept.device)
        sums = kept.view(batch.stop - batch.start, -1).double().sum(dim=1) / sites[layer].d_ff
        active[batch.start : batch.stop, layer] = sums.cpu().numpy()

    def watch(layer: int, mask: torch.Tensor) -> None:
        assert observe is not None
        observe(layer, mask, current[0])

    # The logits come next, a small model's largest tensor.
    last = frozenset([sites[-1].layer])
    recorder = Recorder(count, None if observe is None else watch, release=last)
    with masked(sites, rule, recorder):
        losses = forward_losses(model, text, batch_size, on_batch, advance)
    for site in sites:
        if np.isnan(active[:, site.layer]).any():
            raise not_called(site)
    return SparseRun(losses, active / np.maximum(window_tokens, 1.0)[:, None], window_tokens)


@dataclass(frozen=True, eq=False)
class Recorder:
    """Follows a sparse pass without gradients, layer after layer.

    Attributes
    ----------
    count : callable
        Called as ``count(layer, kept)`` with the number of kept neurons, shape (positions,).
    watch : callable, optional
        Called as ``watch(layer, mask)`` with the mask itself, shape (positions, d_ff).
    buffers : Buffers
        Where masked states live: all layers of the pass write to the same.
    release : frozenset of int
        Layers after which freed memory is given back.
    """

    count: Callable[[int, torch.Tensor], None]
    watch: Callable[[int, torch.Tensor], None] | None = None
    buffers: Buffers = field(default_factory=Buffers)
    release: frozenset[int] = frozenset()


@contextmanager
def masked(
    sites: Sequence[Site],
    rule: Rule,
    recorder: Recorder | None = None,
) -> Iterator[None]:
    """Apply a rule at every site while the context lasts.

    Parameters
    ----------
    sites, rule
        Where, and which neurons stay.
    recorder : Recorder, optional
        Follows what is kept; only without gradients.

    Raises
    ------
    ModelError
        In a pass: the rule ranks the activation's output, and that of a layer is not to be seen.
    """
    outputs = ActivationOutputs() if rule.needs_activation else None
    with ExitStack() as stack:
        if outputs is not None:
            outputs.watch(sites, stack)
        for site in sites:
            masker = _masker(site, rule, outputs, recorder)
            stack.callback(site.projection.register_forward_pre_hook(masker).remove)
        yield


@contextmanager
def sparse(
    model: nn.Module,
    thresholds: Sequence[float] | np.ndarray,
    *,
    pattern: str | None = None,
) -> Iterator[nn.Module]:
    """Run any supported model sparsely inside the context, in any harness.

    Inside, what `torch.compile` has compiled runs uncompiled (from PyTorch 2.6 on; before, a model
    that ran compiled is an error).

    Parameters
    ----------
    model : torch.nn.Module
        Model whose weak neurons are to be skipped; its weights are not touched.
    thresholds : array-like, shape (layers,)
        Thresholds on ``||n_i||``, e.g. from `sparsefit.collectors.thresholds.load_thresholds`.
    pattern : str, optional
        Site pattern (`find_sites`).

    Yields
    ------
    torch.nn.Module
        The same model.

    Raises
    ------
    ModelError
        No sites (`find_sites`), or, when the model runs, a site whose module is not called.

    Examples
    --------
    >>> with sparse(model, thresholds):  # doctest: +SKIP
    ...     model.generate(**inputs)
    """
    sites = find_sites(model, pattern)
    called: set[int] = set()

    def check(module: nn.Module, args: Any, output: Any) -> None:
        for site in sites:
            if site.layer not in called:
                raise not_called(site)

    with ExitStack() as stack:
        stack.enter_context(hooks_run())
        stack.enter_context(masked(sites, OutputNorm(sites, thresholds)))
        for site in sites:
            handle = site.projection.register_forward_pre_hook(_noter(called, site.layer))
            stack.callback(handle.remove)
        stack.callback(model.register_forward_hook(check).remove)
        yield model


def _noter(called: set[int], layer: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any) -> None:
        called.add(layer)

    return hook


def _masker(
    site: Site,
    rule: Rule,
    outputs: ActivationOutputs | None,
    recorder: Recorder | None,
) -> Callable[..., tuple[torch.Tensor, ...]]:
    def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = flatten(args[0])
        s = None if outputs is None else outputs.take(site, hidden)
        if recorder is None:
            mask = rule.keep(site.layer, hidden, s)
            return ((hidden * mask).view(args[0].shape), *args[1:])
        masked_states = recorder.buffers.take("masked", hidden.shape[0], hidden.shape[1], hidden)
        kept = torch.empty(hidden.shape[0], device=hidden.device)
        masks = []
        for at in range(0, hidden.shape[0], ROWS):
            rows = slice(at, at + ROWS)
            mask = rule.keep(site.layer, hidden[rows], None if s is None else s[rows])
            torch.mul(hidden[rows], mask, out=masked_states[rows])
            kept[rows] = torch.count_nonzero(mask, dim=-1)
            if recorder.watch is not None:
                masks.append(mask)
        recorder.count(site.layer, kept)
        if recorder.watch is not None:
            recorder.watch(site.layer, torch.cat(masks))
        if site.layer in recorder.release:
            release_gaps(hidden)
        return (masked_states.view(args[0].shape), *args[1:])

    return hook

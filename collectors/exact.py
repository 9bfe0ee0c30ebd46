"""Exact thresholds, for texts so small that curves are all kinks.

A layer's CETT is a step function of its threshold: it jumps wherever a neuron of a token falls
under. Between two thresholds that lie close together few neurons do, and each adds one vector to
what its token has lost. So one product with the output projection at the lower threshold, and a
column of it for each neuron between the two, give every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.blocks import ROWS, release_gaps
from sparsefit.collectors.counted import CountedStates, Observer, observe_states
from sparsefit.collectors.curve import CurveRangeError
from sparsefit.collectors.forward import Batch
from sparsefit.collectors.sites import Site
from sparsefit.collectors.text import EvaluationText

# Half width of the first bracket, relative to the threshold; every miss widens it fivefold.
_WIDTH = 0.02
_MAX_PASSES = 4


@dataclass(frozen=True, eq=False)
class Steps:
    """CETT of one layer between two thresholds, summed over tokens.

    Attributes
    ----------
    base : float
        Sum over tokens of the relative error at the lower threshold.
    sizes : numpy.ndarray
        Norms ``||n_i||`` between the two thresholds, in any order, shape (K,).
    jumps : numpy.ndarray
        What the sum gains once each of them is skipped too (after the smaller ones), shape (K,).
    largest : float
        Largest ``||n_i||`` of all.
    """

    base: float
    sizes: np.ndarray
    jumps: np.ndarray
    largest: float


def steps_between(
    hidden: torch.Tensor,
    total: torch.Tensor,
    weight: torch.Tensor,
    norms: torch.Tensor,
    low: float,
    high: float,
) -> Steps:
    """Find every step of a layer's CETT between two thresholds.

    Parameters
    ----------
    hidden : torch.Tensor
        Inputs of the output projection, shape (tokens, d_ff).
    total : torch.Tensor
        Norms of the layer's outputs, shape (tokens,).
    weight : torch.Tensor
        ``W_out``, shape (d_model, d_ff).
    norms : torch.Tensor
        ``||W_out[:, i]||``, shape (d_ff,).
    low, high : float
        Thresholds on ``||n_i||``.
    """
    base = largest = 0.0
    sizes: list[torch.Tensor] = []
    jumps: list[torch.Tensor] = []
    columns = weight.t()
    for at in range(0, hidden.shape[0], ROWS):
        block = hidden[at : at + ROWS]
        size = block.abs().float() * norms
        largest = max(largest, float(size.max()))
        # A token without output loses nothing: 0/0 counts as 0.
        safe = total[at : at + ROWS]
        safe = torch.where(safe > 0, safe, torch.full_like(safe, torch.inf))
        lost = ((block * (size < low)) @ columns).float()
        ratio = torch.linalg.vector_norm(lost, dim=-1) / safe
        base += float(ratio.double().sum())
        row, neuron = torch.nonzero((size >= low) & (size < high), as_tuple=True)
        # Smallest first within each token, then everybody's first, everybody's second, ...
        value, order = torch.sort(size[row, neuron])
        row, neuron = row[order], neuron[order]
        row, by_row = torch.sort(row, stable=True)
        value, neuron = value[by_row], neuron[by_row]
        counts = torch.bincount(row, minlength=block.shape[0])
        first = torch.cumsum(counts, 0) - counts
        rank = torch.arange(row.shape[0], device=row.device) - first[row]
        jump = torch.zeros(row.shape[0], dtype=torch.float64, device=row.device)
        for turn in range(int(counts.max())):
            now = torch.nonzero(rank == turn).squeeze(1)
            r, i = row[now], neuron[now]
            lost[r] += columns[i].float() * block[r, i, None].float()
            after = torch.linalg.vector_norm(lost[r], dim=-1) / safe[r]
            jump[now] = after.double() - ratio[r].double()
            ratio[r] = after
        sizes.append(value)
        jumps.append(jump)
    return Steps(
        base,
        torch.cat(sizes).double().cpu().numpy(),
        torch.cat(jumps).cpu().numpy(),
        largest,
    )


def invert(parts: Sequence[Steps], tokens: int, cett: float) -> tuple[float, float] | None:
    """Find the threshold of a CETT on the steps of all batches.

    CETT falls by a hair wherever a skipped neuron cancels others, so several thresholds cross a
    value. Bisection from 0 to the largest norm picks one, whatever the bracket is in which steps
    are known. Its last digit is kept: in the sparse run, where hidden states are others, a neuron
    of a massive token in the gap between two dense norms can move the loss of a small text.

    Returns
    -------
    (threshold, reached) or None
        The largest threshold under the step that crosses `cett` (relative width 1e-7), and the
        CETT there; None where the steps do not enclose it.
    """
    sizes = np.concatenate([part.sizes for part in parts])
    order = np.argsort(sizes, kind="stable")
    jumps = np.concatenate([part.jumps for part in parts])[order]
    base = sum(part.base for part in parts)
    ordered = sizes[order]
    sums = base + np.concatenate([[0.0], np.cumsum(jumps)])
    wanted = cett * tokens
    if sums[0] >= wanted or sums[-1] < wanted:
        return None
    low, high = 0.0, 1.001 * max(part.largest for part in parts)
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        # Thresholds below the bracket skip no more than its lower end, those above no less than
        # its upper end.
        if sums[np.searchsorted(ordered, middle)] < wanted:
            low = middle
        else:
            high = middle
    skipped = int(np.searchsorted(ordered, low))
    if not 0 < skipped < ordered.size:
        return None
    return low, float(sums[skipped] / tokens)


def exact_thresholds(
    model: nn.Module,
    sites: Sequence[Site],
    text: EvaluationText,
    guesses: np.ndarray,
    cett: float,
    *,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find each layer's exact threshold of a CETT, in one dense pass where guesses are good.

    Parameters
    ----------
    model, sites, text
        Dense model, its sites and the evaluation text.
    guesses : numpy.ndarray
        Threshold of each layer to within about 2%; NaN for layers to be left out.
    cett : float
        CETT wanted, fraction.
    batch_size : int
        Windows per batch.
    advance : callable, optional
        Progress callback (tokens done).

    Returns
    -------
    thresholds, reached : numpy.ndarray
        Thresholds on ``||n_i||`` and the CETT that they give, shape (layers,); NaN where left out.

    Raises
    ------
    CurveRangeError
        A layer's threshold is not found near its guess.
    """
    thresholds = np.full(len(sites), np.nan)
    reached = np.full(len(sites), np.nan)
    brackets = {
        layer: (guess / (1 + _WIDTH), guess * (1 + _WIDTH))
        for layer, guess in enumerate(guesses)
        if np.isfinite(guess)
    }
    for _ in range(_MAX_PASSES):
        if not brackets:
            return thresholds, reached
        found = _observe(model, sites, text, brackets, batch_size, advance)
        missed = {}
        for layer, parts in found.items():
            root = invert(parts, text.n_tokens, cett)
            if root is None:
                low, high = brackets[layer]
                width = (high / low) ** 2
                missed[layer] = (low / width, high * width)
            else:
                thresholds[layer], reached[layer] = root
        brackets = missed
    if brackets:
        raise CurveRangeError(
            f"CETT {cett:.6g} is not reached near the calibrated threshold in layers "
            f"{sorted(brackets)}: too few neurons are active on this text"
        )
    return thresholds, reached


def _observe(
    model: nn.Module,
    sites: Sequence[Site],
    text: EvaluationText,
    brackets: dict[int, tuple[float, float]],
    batch_size: int,
    advance: Callable[[int], None] | None,
) -> dict[int, list[Steps]]:
    found: dict[int, list[Steps]] = {layer: [] for layer in brackets}

    def observer_of(site: Site) -> Observer:
        norms = site.column_norms()

        def observe(batch: Batch, states: CountedStates) -> None:
            hidden, device = states.hidden, states.hidden.device
            weight = site.weight.to(device)
            steps = steps_between(
                hidden, states.total, weight, norms.to(device), *brackets[site.layer]
            )
            found[site.layer].append(steps)
            release_gaps(states.hidden)

        return observe

    observers = [(sites[layer], observer_of(sites[layer])) for layer in brackets]
    observe_states(model, text, observers, batch_size, advance)
    return found

"""Who is active: activation frequency of every neuron and activation ratio of every token.

One sparse pass per text gives both (Figs. 9, 10 and 16 of the paper). `compare_activity` says how
alike two models are in these terms, across scales or checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.display import activity_line, html_table
from sparsefit.collectors.forward import (
    Batch,
    checked_batch_size,
    vocabulary_size,
    with_batch_size,
)
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import OutputNorm, Rule
from sparsefit.collectors.sites import Site, find_sites
from sparsefit.collectors.text import EvaluationText, checked_text
from sparsefit.collectors.trial import try_model
from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

DEAD_BELOW = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Activity:
    """Activity of one model on named texts.

    Attributes
    ----------
    neurons : pandas.DataFrame
        Columns ``text``, ``layer``, ``neuron``, ``frequency`` (share of tokens at which the neuron
        is active).
    tokens : pandas.DataFrame
        Columns ``text``, ``token`` (vocabulary id), ``count``, ``activation_ratio`` (mean over the
        token's occurrences and layers); one row per token that occurs.
    """

    neurons: pd.DataFrame
    tokens: pd.DataFrame

    def __repr__(self) -> str:
        return activity_line(self)

    def _repr_html_(self) -> str:
        return html_table(
            self.dead(), f"{activity_line(self)}; dead: active for under {DEAD_BELOW:.1%} of tokens"
        )

    def dead(self, below: float = DEAD_BELOW) -> pd.DataFrame:
        """Count dead neurons by text and layer.

        Columns ``text``, ``layer``, ``dead``, ``neurons``, ``share``. A neuron is dead where it is
        active for under 0.1% of the tokens (`below`).
        """
        grouped = self.neurons.groupby(["text", "layer"])["frequency"]
        result = grouped.agg(dead=lambda f: int((f < below).sum()), neurons="size").reset_index()
        result["share"] = result["dead"] / result["neurons"]
        return result


def measure_activity(
    model: nn.Module,
    texts: Mapping[str, EvaluationText],
    thresholds: Sequence[float] | np.ndarray | Rule,
    *,
    pattern: str | None = None,
    batch_size: int | None = None,
) -> Activity:
    """Count who is active while a model runs sparsely.

    Parameters
    ----------
    model : torch.nn.Module
        Supported model.
    texts : mapping of str to EvaluationText
        Named texts, for example subsets of the training data.
    thresholds : array-like of shape (layers,), or Rule
        Thresholds on ``||n_i||``, or any other rule of `sparsefit.collectors.rules`.
    pattern : str, optional
        Site pattern.
    batch_size : int, optional
        Windows per batch.

    Returns
    -------
    Activity

    Raises
    ------
    ArgumentError
        No named text, or thresholds that are not one number per layer.
    ModelError
        The model is not supported (`find_sites`).
    TextError
        A text was tokenized for another model.
    """
    import pandas as pd

    if not isinstance(texts, Mapping) or not texts:
        raise ArgumentError("give at least one named text: {name: EvaluationText}")
    sites = find_sites(model, pattern)
    plain = not hasattr(thresholds, "keep")
    rule = OutputNorm(sites, cast("Any", thresholds)) if plain else cast("Rule", thresholds)
    vocabulary = vocabulary_size(model)
    neurons, tokens = [], []
    for name, text in texts.items():
        checked_text(text).check_vocabulary(vocabulary)
        try_model(model, sites, text)

        def count(size: int, text: EvaluationText = text) -> Any:
            return _count(model, sites, text, rule, vocabulary, size)

        counter, _ = with_batch_size(count, checked_batch_size(batch_size, text))
        for layer, counts in enumerate(counter.neurons):
            neurons.append(
                pd.DataFrame(
                    {
                        "text": name,
                        "layer": layer,
                        "neuron": np.arange(counts.size),
                        "frequency": counts / text.n_tokens,
                    }
                )
            )
        present = np.flatnonzero(counter.occurrences)
        tokens.append(
            pd.DataFrame(
                {
                    "text": name,
                    "token": present,
                    "count": counter.occurrences[present],
                    "activation_ratio": counter.ratio_sums[present] / counter.occurrences[present],
                }
            )
        )
    return Activity(pd.concat(neurons, ignore_index=True), pd.concat(tokens, ignore_index=True))


def compare_activity(a: Activity, b: Activity, *, min_count: int = 5) -> pd.DataFrame:
    """Compare the activation patterns of two models over the texts that both have.

    Parameters
    ----------
    a, b : Activity
        Models of any two sizes; tokens are matched by vocabulary id, layers by relative depth.
    min_count : int
        Tokens that occur less often in either are left out of the rank correlation.

    Returns
    -------
    pandas.DataFrame
        One row per text: ``text``; ``tokens`` (matched), ``token_rank_correlation`` (Spearman, of
        the tokens' activation ratios), ``token_mean_difference`` (mean absolute difference);
        ``frequency_distance`` (first Wasserstein distance between the distributions of neuron
        frequencies, all layers pooled), and the same for the ``first``, ``middle`` and ``last``
        layer.

    Raises
    ------
    ArgumentError
        One of the two is no `Activity`, or they have no text in common.
    """
    import pandas as pd
    from scipy import stats

    for given in (a, b):
        if not isinstance(given, Activity):
            raise ArgumentError(
                f"compare what measure_activity returns, got {type(given).__name__}"
            )

    names = [name for name in a.neurons["text"].unique() if name in set(b.neurons["text"])]
    if not names:
        raise ArgumentError("the two models have no text in common")
    rows = []
    for name in names:
        left, right = (
            item.tokens[(item.tokens["text"] == name) & (item.tokens["count"] >= min_count)]
            for item in (a, b)
        )
        both = left.merge(right, on="token", suffixes=("_a", "_b"))
        x, y = both["activation_ratio_a"], both["activation_ratio_b"]
        enough = len(both) >= 3
        row = {
            "text": name,
            "tokens": len(both),
            "token_rank_correlation": float(stats.spearmanr(x, y).statistic) if enough else np.nan,
            "token_mean_difference": float((x - y).abs().mean()) if enough else np.nan,
        }
        for column, depth in (
            ("frequency_distance", None),
            ("frequency_distance_first", 0.0),
            ("frequency_distance_middle", 0.5),
            ("frequency_distance_last", 1.0),
        ):
            values = [_frequencies(item.neurons, name, depth) for item in (a, b)]
            row[column] = float(stats.wasserstein_distance(*values))
        rows.append(row)
    return pd.DataFrame(rows)


class _Counter:
    def __init__(self, widths: Sequence[int], vocabulary: int) -> None:
        self.neurons = [np.zeros(width, dtype=np.int64) for width in widths]
        self.occurrences = np.zeros(vocabulary, dtype=np.int64)
        self.ratio_sums = np.zeros(vocabulary)
        self._share: torch.Tensor | None = None

    def observe(self, layer: int, mask: torch.Tensor, batch: Batch) -> None:
        """Count one layer of one batch (`masking.Observer`)."""
        rows = mask[batch.counted_on(mask.device)]
        self.neurons[layer] += rows.sum(dim=0).cpu().numpy()
        share = rows.double().mean(dim=1).to(batch.tokens.device)
        self._share = share if self._share is None or layer == 0 else self._share + share
        if layer == len(self.neurons) - 1:
            ids = batch.tokens.reshape(-1)[batch.counted].cpu().numpy()
            np.add.at(self.occurrences, ids, 1)
            np.add.at(self.ratio_sums, ids, self._share.cpu().numpy() / len(self.neurons))
            self._share = None


def _count(
    model: nn.Module,
    sites: Sequence[Site],
    text: EvaluationText,
    rule: Rule,
    vocabulary: int,
    batch_size: int,
) -> _Counter:
    counter = _Counter([site.d_ff for site in sites], vocabulary)
    run_sparse(model, sites, text, rule, batch_size=batch_size, observe=counter.observe)
    return counter


def _frequencies(neurons: pd.DataFrame, text: str, depth: float | None) -> np.ndarray:
    chosen = neurons[neurons["text"] == text]
    if depth is not None:
        layer = round(depth * chosen["layer"].max())
        chosen = chosen[chosen["layer"] == layer]
    return chosen["frequency"].to_numpy()

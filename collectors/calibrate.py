"""One dense pass that yields every layer's CETT curve and the dense loss, storing no activations.

``||sum of n_i||`` is the norm of a vector sum, so one point of a curve costs one product with the
output projection (a fifth of a small model's forward pass over all layers). Three kinds of points
keep that cheap:

* *scout*: on the first batch, a few hundred tokens locate each target's threshold, starting from
  the energy curve (the CETT of incoherent neuron outputs), which needs no product at all;
* *shape*: a grid of thresholds around the targets, on a sample of tokens spread over the text;
* *level*: every token near the targets. Where a target is known, at one threshold, moved along as
  the shape becomes better known; the ratio of level to shape corrects the sampled curve there
  (`LayerCurve`). Where the root is still being looked for, tokens take turns at thresholds to both
  sides (`Turns`), so that the curve is no better known at some than between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sparsefit.collectors.blocks import release_gaps
from sparsefit.collectors.counted import CountedStates, observe_states
from sparsefit.collectors.curve import LayerCurve
from sparsefit.collectors.forward import Batch, Losses
from sparsefit.collectors.scout import energy_curve, locate, thin
from sparsefit.collectors.sites import Site, not_called
from sparsefit.collectors.skipped import SkippedNorms
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.turns import Draw, Turns
from sparsefit.errors import ArgumentError, ModelError

_SCOUT_TOKENS = 512
_BELOW_ONE = 1 - 1e-9
_PAST_LARGEST = 10.0
# Layers between two releases of freed memory, which has to be mapped anew each time; counted from
# the last layer, since the logits come next.
_RELEASE_EVERY = 8


@dataclass(frozen=True)
class Plan:
    """What a calibration pass evaluates.

    Attributes
    ----------
    targets : tuple of float
        CETT values near which the curves must be exact.
    ratios : tuple of float
        Shape grid, as CETT relative to each target (approximate: placed by the scout's slope).
    sample_tokens : int
        Tokens in the shape sample (at least; all where the text is smaller).
    level : bool
        Whether every token is evaluated near the targets.
    turns : tuple of float
        CETT relative to the one target at which tokens take turns, each at two of them; these
        points join the shape grid. Empty: all tokens follow the targets.
    """

    targets: tuple[float, ...]
    ratios: tuple[float, ...] = (0.6, 0.78, 0.92, 1.08, 1.28, 1.65)
    sample_tokens: int = 2048
    level: bool = True
    turns: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.turns and (len(self.targets) > 1 or not self.level):
            raise ArgumentError("tokens take turns around one target, on the level of all tokens")
        if not self.targets or not all(0 < target < 1 for target in self.targets):
            raise ArgumentError(f"CETT targets must lie strictly between 0 and 1: {self.targets}")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Result of one calibration pass.

    Attributes
    ----------
    curves : tuple of LayerCurve
        One per layer.
    losses : Losses
        Dense losses of the same pass.
    targets : tuple of float
        CETT values at which the curves are exact.
    window_cett : numpy.ndarray
        CETT of each window near each target relative to the curve at the same thresholds, shape
        (targets, windows, layers); to the sample's curve where a `LayerCurve.factor` corrects it.
    window_tokens : numpy.ndarray
        Counted tokens of each window, shape (windows,).
    """

    curves: tuple[LayerCurve, ...]
    losses: Losses
    targets: tuple[float, ...]
    window_cett: np.ndarray
    window_tokens: np.ndarray

    def thresholds(self, cett: float) -> np.ndarray:
        """Per-layer thresholds at a shared CETT, shape (layers,)."""
        return np.array([curve.threshold(cett) for curve in self.curves])

    def covers(self, cett: float) -> bool:
        """Whether every layer's curve reaches a CETT."""
        return all(low <= cett <= high for low, high in (curve.range for curve in self.curves))


def calibrate(
    model: nn.Module,
    sites: Sequence[Site],
    text: EvaluationText,
    plan: Plan,
    *,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> Calibration:
    """Measure every layer's CETT curve and the dense loss in one forward pass.

    Parameters
    ----------
    model, sites, text
        Dense model, its sites and the evaluation text.
    plan : Plan
        Targets and sampling.
    batch_size : int
        Windows per batch.
    advance : callable, optional
        Progress callback (tokens done).

    Returns
    -------
    Calibration
    """
    stride = max(1, text.n_tokens // plan.sample_tokens)
    norms = SkippedNorms()
    draw = Draw(text)
    observers = [_LayerObserver(site, plan, text, stride, norms, draw) for site in sites]
    for observer in observers[::-_RELEASE_EVERY]:
        observer.release = True
    shown = [(observer.site, observer.observe) for observer in observers]
    losses = observe_states(model, text, shown, batch_size, advance)
    window_tokens = text.counted.sum(axis=1).astype(float)
    finished = [observer.finish(window_tokens) for observer in observers]
    return Calibration(
        curves=tuple(curve for curve, _ in finished),
        losses=losses,
        targets=plan.targets,
        window_cett=np.stack([ratios for _, ratios in finished], axis=-1),
        window_tokens=window_tokens,
    )


class _LayerObserver:
    """Accumulates one layer's curve over the batches of a pass."""

    def __init__(
        self,
        site: Site,
        plan: Plan,
        text: EvaluationText,
        stride: int,
        skipped: SkippedNorms,
        draw: Draw,
    ) -> None:
        self.site = site
        self.draw = draw
        self.skipped = skipped
        self.plan = plan
        self.stride = stride
        self.release = False
        self.norms = site.column_norms()
        self.weight: torch.Tensor | None = None
        self.grid: np.ndarray | None = None
        self.turns: Turns | None = None
        self.cett_sum = np.zeros(0)
        self.active_sum = np.zeros(0)
        self.sampled = 0
        self.seen = 0
        count = len(plan.targets)
        self.level_cett = np.zeros((count, text.n_windows))
        self.level_log_eps = np.full((count, text.n_windows), np.nan)
        # One pseudo-observation of agreement, so that the first batch has a ratio.
        self.level_ratio = np.ones(count)
        self.level_tokens = 1
        self.batches: list[tuple[int, int]] = []
        self.length = text.tokens.shape[1]

    def observe(self, batch: Batch, states: CountedStates) -> None:
        hidden, total = states.hidden, states.total
        # Held no longer than this layer's turn: an offloaded weight is a copy.
        self.weight = self.site.weight.to(hidden.device)
        self.norms = self.norms.to(hidden.device)
        self.batches.append((batch.start, batch.stop))
        if self.grid is None:
            self._scout(hidden, total)
        if self.grid is not None:
            self._shape(hidden, total)
            if self.turns is not None:
                self._take_turns(hidden, total, self.turns)
            elif self.plan.level:
                self._level(hidden, total, batch, states.positions)
        self.seen += hidden.shape[0]
        self.weight = None
        if self.release:
            release_gaps(hidden)

    def _ratios(
        self, hidden: torch.Tensor, total: torch.Tensor, eps: float | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Relative error of each token once neurons under eps are skipped (Eq. 3), and how many.

        One eps for all tokens or, shape (tokens,), for each its own.
        """
        assert self.weight is not None
        if isinstance(eps, torch.Tensor):
            lost, count = self.skipped(hidden, self.weight, 1 / self.norms, eps)
        else:
            lost, count = self.skipped(hidden, self.weight, eps / self.norms)
        # A token whose FFN output is zero loses nothing: 0/0 counts as 0.
        return torch.where(total > 0, lost / total, torch.zeros_like(total)), count

    def _cett(self, hidden: torch.Tensor, total: torch.Tensor, eps: float) -> float:
        return float(self._ratios(hidden, total, eps)[0].double().mean())

    def _scout(self, hidden: torch.Tensor, total: torch.Tensor) -> None:
        step = max(1, hidden.shape[0] // _SCOUT_TOKENS)
        hidden, total = hidden[::step], total[::step]
        sizes = hidden.abs().float() * self.norms
        largest = float(sizes.max())
        if not np.isfinite(largest):
            raise ModelError(f"{self.site.name}: hidden states are not finite")
        if largest == 0.0 or float(total.max()) == 0.0:
            return
        smallest = float(torch.where(sizes > 0, sizes, largest).min())
        known = energy_curve(sizes, total)
        points: dict[float, float] = {}
        grid: list[float] = []
        turns = np.zeros(0)
        for target in sorted(self.plan.targets):
            centre, slope = locate(
                lambda log_eps: self._cett(hidden, total, float(np.exp(log_eps))),
                target,
                (np.log(smallest), np.log(largest * 1.001)),
                known,
                points,
            )
            # The curve ends at the largest neuron of all, which these few tokens may not hold.
            end = np.log(largest * _PAST_LARGEST)
            turns = np.minimum(centre + np.log(self.plan.turns) / slope, end)
            grid.extend([*np.minimum(centre + np.log(self.plan.ratios) / slope, end), *turns])
        self._place(thin(np.array(grid)), turns)

    def _place(self, grid: np.ndarray, turns: np.ndarray) -> None:
        self.grid = grid
        self.cett_sum = np.zeros(grid.size)
        self.active_sum = np.zeros(grid.size)
        if turns.size:
            # Where the grid was thinned, the nearest point stands in.
            anchors = np.unique(np.abs(grid - turns[:, None]).argmin(axis=1))
            self.turns = Turns(anchors, grid.size, self.level_cett.shape[1])

    def _shape(self, hidden: torch.Tensor, total: torch.Tensor) -> None:
        assert self.grid is not None
        # The stride goes on across batches, so that the sample is even over the text.
        first = -self.seen % self.stride
        hidden, total = hidden[first :: self.stride], total[first :: self.stride]
        if hidden.shape[0] == 0:
            return
        points = [self._ratios(hidden, total, float(np.exp(log_eps))) for log_eps in self.grid]
        # All read at once: each read makes the processor wait for its device.
        read = torch.cat([value.double().view(-1) for point in points for value in point])
        values = read.view(len(points), -1).cpu().numpy().T
        self.cett_sum += values[:-1].sum(axis=0)
        self.active_sum += hidden.shape[0] - values[-1] / hidden.shape[1]
        self.sampled += hidden.shape[0]
        if self.turns is not None:
            windows = self.draw.windows[self.seen + first :: self.stride][: hidden.shape[0]]
            self.turns.add_sample(values[:-1], windows)

    def _take_turns(self, hidden: torch.Tensor, total: torch.Tensor, turns: Turns) -> None:
        """Evaluate the tokens that are not in the sample, each at the thresholds of its group."""
        assert self.grid is not None
        here = slice(self.seen, self.seen + hidden.shape[0])
        rest = np.arange(here.start, here.stop) % self.stride != 0
        if not rest.any():
            return
        groups = turns.group_of(self.draw.numbers[here])
        eps = np.exp(self.grid[turns.groups[groups].T]).astype(np.float32)
        points = [
            self._ratios(hidden, total, torch.from_numpy(level).to(hidden.device))[0]
            for level in eps
        ]
        values = torch.stack(points, dim=1).double().cpu().numpy()
        turns.add_turns(values[rest], groups[rest], self.draw.windows[here][rest])

    def _level(
        self,
        hidden: torch.Tensor,
        total: torch.Tensor,
        batch: Batch,
        positions: torch.Tensor | None,
    ) -> None:
        assert self.grid is not None
        curve = self._curve()
        windows = batch.stop - batch.start
        low, high = curve.range
        for at, target in enumerate(self.plan.targets):
            # What every token so far says about the level brings the next threshold closer, and
            # the closer it is, the less rests on the sampled shape.
            aim = target * self.level_tokens / self.level_ratio[at]
            # At 1 everything is skipped, whatever the threshold: no curve says where.
            eps = curve.threshold(min(max(aim, low), high, _BELOW_ONE))
            ratios = self._ratios(hidden, total, eps)[0].double()
            if positions is None:
                sums = ratios.view(windows, -1).sum(dim=1)
            else:
                # Not by index_add_, whose order on CUDA is another every time.
                placed = ratios.new_zeros(windows * self.length)
                placed[positions] = ratios
                sums = placed.view(windows, -1).sum(dim=1)
            found = sums.cpu().numpy()
            self.level_cett[at, batch.start : batch.stop] = found
            self.level_log_eps[at, batch.start : batch.stop] = np.log(eps)
            self.level_ratio[at] += found.sum() / float(curve.sample(np.log(eps)))
        self.level_tokens += hidden.shape[0]

    def _curve(
        self, log_eps: np.ndarray | None = None, factor: np.ndarray | None = None
    ) -> LayerCurve:
        assert self.grid is not None
        empty = np.zeros(0)
        return LayerCurve(
            self.grid,
            self.cett_sum / self.sampled,
            self.active_sum / self.sampled,
            empty if log_eps is None else log_eps,
            empty if factor is None else factor,
        )

    def finish(self, window_tokens: np.ndarray) -> tuple[LayerCurve, np.ndarray]:
        """Return the layer's curve and the windows' CETT relative to it, (targets, windows)."""
        if not self.batches:
            raise not_called(self.site)
        shape = (len(self.plan.targets), window_tokens.size)
        if self.grid is None:
            empty = np.zeros(0)
            return LayerCurve(empty, empty, empty, empty, empty, dead=True), np.ones(shape)
        if self.turns is not None:
            means = self.turns.means(int(window_tokens.sum()))
            empty = np.zeros(0)
            active = self.active_sum / self.sampled
            relative = self.turns.by_window(means, window_tokens)
            return LayerCurve(self.grid, means, active, empty, empty), relative[None]
        curve = self._curve()
        if not self.plan.level:
            return curve, np.ones(shape)
        weights = window_tokens / window_tokens.sum()
        # Windows before the first non-zero output have CETT 0 at every threshold.
        seen = np.isfinite(self.level_log_eps[0])
        centre = self.level_log_eps[:, seen] @ (weights[seen] / weights[seen].sum())
        self.level_log_eps[:, ~seen] = centre[:, None]
        expected = curve.sample(self.level_log_eps) * window_tokens
        # A mean of ratios, not a ratio of sums: thresholds came down where CETT was high, and sums
        # would give those windows less weight.
        factor = (self.level_cett / expected) @ weights
        return self._curve(centre, factor), self.level_cett / expected

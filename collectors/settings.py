"""What is measured, and by which protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsefit.checks import check_choice, check_positive, check_whole
from sparsefit.collectors.solve import DEFAULT_TOLERANCE
from sparsefit.errors import ArgumentError, quoted
from sparsefit.table.schema import COLUMNS


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes
    ----------
    metric : str
        ``cett_ppl`` (default), ``cett`` (a given CETT value), ``relu_zero``, ``topk``, ``fat``.
    p_percent : float
        Rise of perplexity allowed, percent (``cett_ppl``).
    cett : float or None
        CETT value (``cett``), fraction.
    k : int or None
        Neurons kept per token and layer (``topk``).
    eps : float or None
        Threshold on ``|s_i|`` (``fat``).
    cett_scope : str
        ``run``: one CETT for the whole run, solved jointly on its last `joint` checkpoints (the
        paper's protocol); ``checkpoint``: solved anew for each.
    joint : int
        Number of last checkpoints that are solved together.
    tolerance : float
        Largest difference to the target in log perplexity ratio.
    pattern : str or None
        Site pattern (`find_sites`).

    Raises
    ------
    ArgumentError
        A value is none of the choices, or no possible number; one that the metric needs is missing,
        or belongs to another.
    """

    metric: str = "cett_ppl"
    p_percent: float = 1.0
    cett: float | None = None
    k: int | None = None
    eps: float | None = None
    cett_scope: str = "run"
    joint: int = 5
    tolerance: float = DEFAULT_TOLERANCE
    pattern: str | None = None

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, COLUMNS["metric"].choices)
        check_choice("cett_scope", self.cett_scope, COLUMNS["cett_scope"].choices)
        if not check_positive("p_percent", self.p_percent) <= 1e6:
            raise ArgumentError(f"p_percent must be at most 1e6, got {self.p_percent:g}")
        check_whole("joint", self.joint, 1)
        if not check_positive("tolerance", self.tolerance) < self.target:
            raise ArgumentError(
                f"tolerance={self.tolerance} must lie between 0 and the rise in log perplexity "
                f"that p_percent={self.p_percent:g} allows, {self.target:.2g}: give a larger "
                "p_percent or another tolerance"
            )
        for metric, value in (("cett", self.cett), ("topk", self.k), ("fat", self.eps)):
            needed = self.metric == metric
            name = {"cett": "cett", "topk": "k", "fat": "eps"}[metric]
            if needed and value is None:
                raise ArgumentError(f"metric {metric!r} needs {name}")
            if not needed and value is not None:
                raise ArgumentError(
                    f"{name} goes with metric {quoted(metric)}, not {quoted(self.metric)}"
                )
        if self.k is not None:
            check_whole("k", self.k, 1)
        # 0 keeps what is not exactly zero.
        if self.eps is not None and not (_is_number(self.eps) and 0 <= self.eps < math.inf):
            raise ArgumentError(f"eps must be a non-negative threshold, got {quoted(self.eps)}")
        if self.cett is not None and not (_is_number(self.cett) and 0 < self.cett < 1):
            raise ArgumentError(
                f"cett must be a fraction strictly between 0 and 1, got {quoted(self.cett)}"
            )

    @property
    def target(self) -> float:
        """Log perplexity ratio wanted."""
        return math.log1p(self.p_percent / 100)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Where to look for the root: a probe on little text, then one survey pass over all of it.

A full evaluation far from the root costs a pass and says little. The *survey* is a pass whose parts
run at different CETT values: each at what the parts before it make the likeliest root. All of them
together, moved to one CETT by the exponent of the perplexity curve, place the root about as well as
a full evaluation there would. Nothing here decides a result: the root is always verified on the
whole text (`solve.next_step`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsefit.collectors.calibrate import Calibration, Plan
from sparsefit.collectors.checkpoint_measure import REACH, LoadedCheckpoint
from sparsefit.collectors.rules import OutputNorm
from sparsefit.collectors.solve import DEFAULT_EXPONENT, HIGHEST, LOWEST, Evaluation, next_step
from sparsefit.collectors.text import EvaluationText

PROBE_TOKENS = 1024
# A probe of few long windows would hang on what they happen to be about.
_PROBE_LENGTH = 512
# Relative standard error of the log ratio at a survey's root (`solve.next_step`).
SURVEY_ERROR = 0.03
_PROBE_CETT = 0.06
_PROBE_RATIOS = (0.3, 0.6, 1.0, 1.8, 4.0)
_PARTS = 16
_MAX_STEP = math.log(1.5)


@dataclass(frozen=True)
class Patch:
    """Part of a text at one CETT.

    Attributes
    ----------
    cett : float
        CETT value, fraction.
    difference : float
        Summed sparse minus dense loss of the part, nats.
    count : float
        Predicted tokens of the part.
    """

    cett: float
    difference: float
    count: float


def probe(
    loaded: LoadedCheckpoint, text: EvaluationText, target: float, tokens: int = PROBE_TOKENS
) -> float:
    """Guess the CETT of a perplexity target from a small part of the text.

    Parameters
    ----------
    loaded, text
        Checkpoint and full text; about `tokens` tokens spread over it are used.
    target : float
        Log perplexity ratio.

    Returns
    -------
    float
        Where to calibrate and to start the survey.
    """
    share = max(1.0, text.tokens.shape[1] / _PROBE_LENGTH)
    part = text.spread(math.ceil(tokens * share)).shortened(_PROBE_LENGTH)
    plan = Plan((_PROBE_CETT,), _PROBE_RATIOS, sample_tokens=tokens // 4, level=False)
    calibration = loaded.calibrate(part, plan)
    lows, highs = zip(*(curve.range for curve in calibration.curves), strict=True)
    history: list[Evaluation] = []
    guess = _PROBE_CETT
    for _ in range(3):
        guess = float(np.clip(guess, max(lows) * 1.001, min(highs) * 0.999))
        rule = OutputNorm(loaded.sites, calibration.thresholds(guess))
        ratio = loaded.run(part, rule).losses.mean - calibration.losses.mean
        history.append(Evaluation(guess, ratio))
        # The part's own noise is about a third of the target: closer is not worth a pass.
        close = ratio > 0 and abs(math.log(ratio / target)) < 1.0
        guess = next_step(history, target, guess=guess).cett
        if close:
            break
    return guess


def survey(
    loaded: LoadedCheckpoint,
    text: EvaluationText,
    calibration: Calibration,
    target: float,
    start: float,
    others: Sequence[Sequence[Patch]] = (),
) -> tuple[Patch, ...]:
    """Run the whole text once, each part at the likeliest root so far.

    Parameters
    ----------
    loaded, text, calibration
        Checkpoint, text, and the checkpoint's curves around `start`.
    target : float
        Log perplexity ratio.
    start : float
        CETT of the first part; counts as much as a probe's worth of text.
    others : sequence of sequences of Patch
        Surveys of checkpoints for which the same root is wanted.

    Returns
    -------
    tuple of Patch
        One for each part.
    """
    parts = min(_PARTS, text.n_windows)
    prior = Patch(start, target * PROBE_TOKENS, PROBE_TOKENS)
    centre = min(calibration.targets, key=lambda value: abs(math.log(value / start)))
    lows, highs = zip(*(curve.range for curve in calibration.curves), strict=True)
    low = max(*lows, centre * math.exp(-REACH), LOWEST) * 1.001
    high = min(*highs, centre * math.exp(REACH), HIGHEST) * 0.999
    found: list[Patch] = []
    cett = start
    for part in range(parts):
        # Interleaved parts: neighbouring windows tell the same story.
        windows = np.arange(part, text.n_windows, parts)
        cett = min(max(cett, low), high)
        rule = OutputNorm(loaded.sites, calibration.thresholds(cett))
        losses = loaded.run(text.take(windows), rule).losses
        difference = float(losses.sums.sum() - calibration.losses.sums[windows].sum())
        found.append(Patch(cett, difference, float(losses.counts.sum())))
        wanted = pooled_root([*others, [prior, *found]], target)
        step = min(max(math.log(wanted / cett), -_MAX_STEP), _MAX_STEP)
        cett *= math.exp(step)
    return tuple(found)


def pooled_root(
    surveys: Sequence[Sequence[Patch]], target: float, exponent: float = DEFAULT_EXPONENT
) -> float:
    """CETT at which the mean perplexity ratio of the surveyed checkpoints meets the target.

    Every part's loss difference is moved to a common CETT as ``CETT ** exponent``. Within `LOWEST`
    and `HIGHEST`; the end on the target's side where the target lies beyond.
    """
    # Differences grow by one power of CETT, so each survey is one number: its ratio at CETT 1.
    levels = [
        sum(patch.difference * patch.cett**-exponent for patch in patches)
        / sum(patch.count for patch in patches)
        for patches in surveys
    ]
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(60):
        middle = (low + high) / 2
        growth = math.exp(exponent * middle)
        mean = sum(math.exp(min(level * growth, 50.0)) for level in levels) / len(levels)
        low, high = (middle, high) if math.log(mean) < target else (low, middle)
    return math.exp((low + high) / 2)

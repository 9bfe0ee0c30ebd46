"""A run that still trains: its measurement grows with it, at the CETT found before."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.collectors.checkpoints import WEIGHTS, Checkpoint
from sparsefit.collectors.state import Parts
from sparsefit.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.collectors.settings import Settings

# Share of p by which perplexity may drift off p% before a reader is told.
_DRIFT = 0.1
# Bytes at both ends of a file of weights that tell it from another.
_ENDS = 1 << 16
_WEIGHTS = (*WEIGHTS, ".gguf", ".distcp")


class GoneWarning(UserWarning):
    """A checkpoint that could not be measured is no longer there: its row is gone too."""


class DriftWarning(UserWarning):
    """The CETT found before no longer costs the newest checkpoints p% of perplexity."""


def planned(checkpoints: Sequence[Checkpoint]) -> list[list[Any]]:
    """What a plan keeps of checkpoints, as JSON reads it back."""
    return [[c.name, c.tokens, c.step, c.revision, c.loss] for c in checkpoints]


def fingerprint(checkpoint: Checkpoint) -> str | None:
    """What tells a checkpoint's weights from others: sizes and both ends of its files.

    None where there are no files (a hub revision, or a checkpoint that is gone).
    """
    source = Path(checkpoint.source)
    files = [source] if source.is_file() else sorted(source.glob("*")) if source.is_dir() else []
    found = hashlib.sha256()
    weights = [path for path in files if path.suffix in _WEIGHTS]
    if not weights and source.is_dir():
        # Sharded formats keep them in folders of their own.
        weights = [path for path in sorted(source.rglob("*")) if path.suffix in _WEIGHTS]
    for path in weights:
        size = path.stat().st_size
        found.update(f"{path.name} {size} ".encode())
        with path.open("rb") as stream:
            found.update(stream.read(_ENDS))
            stream.seek(max(0, size - _ENDS))
            found.update(stream.read(_ENDS))
    return found.hexdigest()[:16] if weights else None


def check_weights(checkpoints: Sequence[Checkpoint], parts: Parts) -> None:
    """Refuse checkpoints whose weights are others than when they were measured.

    Raises
    ------
    CheckpointError
        The run was started anew under the same names.
    """
    for checkpoint in checkpoints:
        known = parts.get(("weights", checkpoint.name))
        # Only of what was measured: weights that are new are read when they are.
        now = None if known is None else fingerprint(checkpoint)
        if now is not None and known != now:
            raise CheckpointError(
                f"{checkpoint.name}: its weights have changed since it was measured. The run was "
                "started again, or the folder was overwritten: start over (--restart), or choose "
                "another output"
            )


def note_weights(checkpoints: Sequence[Checkpoint], failed: Collection[str], parts: Parts) -> None:
    """Keep what tells the weights of those measured from others."""
    for checkpoint in checkpoints:
        key = ("weights", checkpoint.name)
        if checkpoint.name not in failed and parts.get(key) is None:
            found = fingerprint(checkpoint)
            if found is not None:
                parts.put(key, found)


def with_earlier(
    checkpoints: Sequence[Checkpoint], known: Mapping[str, Any] | None, measured: set[str]
) -> tuple[Checkpoint, ...]:
    """Add those measured before that are no longer there: trainers delete old checkpoints.

    A `GoneWarning` names those that were to be measured before and are gone.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        Those that are there now.
    known : mapping or None
        The plan of the measurement that is to grow, if there is one.
    measured : set of str
        Names of the checkpoints that it has measured.

    Raises
    ------
    CheckpointError
        A checkpoint has other training tokens than before.
    """
    now = {checkpoint.name: checkpoint for checkpoint in checkpoints}
    gone: list[Checkpoint] = []
    for name, tokens, step, revision, loss in (known or {}).get("checkpoints", []):
        if name not in now:
            if name in measured:
                gone.append(Checkpoint(name, name, tokens, step, revision, loss))
            else:
                warnings.warn(
                    f"{name} ({tokens} training tokens) could not be measured before and is now "
                    "gone: the table has no row for it",
                    GoneWarning,
                    stacklevel=3,
                )
        elif now[name].tokens != tokens:
            raise CheckpointError(
                f"{name}: {now[name].tokens} training tokens, but {tokens} when it was measured. "
                "The run was started again, or counts tokens in another way: start over (--restart)"
            )
    together = sorted([*checkpoints, *gone], key=lambda checkpoint: checkpoint.tokens)
    for before, after in pairwise(together):
        if before.tokens == after.tokens:
            raise CheckpointError(
                f"{before.name} and {after.name} have both seen {after.tokens} training tokens, "
                "one of them in an earlier measurement: start over (--restart)"
            )
    return tuple(together)


def warn_of_drift(table: pd.DataFrame, settings: Settings) -> None:
    """Warn where the run's CETT costs its last checkpoints clearly more or less than p%.

    Parameters
    ----------
    table : pandas.DataFrame
        The measurement table.
    settings : Settings
        What was measured.
    """
    if settings.metric != "cett_ppl" or settings.cett_scope != "run":
        return
    last = table.loc[table["status"] == "ok"].sort_values("tokens").tail(settings.joint)
    costs = 100.0 * (float(last["ppl_ratio"].mean()) - 1.0)
    if abs(costs - settings.p_percent) > _DRIFT * settings.p_percent:
        warnings.warn(
            f"CETT {last['cett'].iloc[-1]:.4g} was found when there were fewer checkpoints. On the "
            f"last {len(last)} it costs {costs:.2f}% of perplexity, not {settings.p_percent:g}%. "
            "All points of the curve still share one CETT; --restart finds a new one for all",
            DriftWarning,
            stacklevel=3,
        )

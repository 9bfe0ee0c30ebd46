"""A run's series of checkpoints and the training tokens that each has seen."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefit.collectors.token_counts import TokenCounts
from sparsefit.errors import ArgumentError, CheckpointError, quoted

_FOLDER = re.compile(
    r"^(?:checkpoint|ckpt|step|iter|global_step)[-_=]?(\d+)(?:[^0-9A-Za-z].*)?$", re.IGNORECASE
)
_NUMBER = re.compile(r"^(\d+)$")
# A file of weights, with what else its name may say: model_step_1000.pt, epoch=2-step=1000.ckpt.
_FILE = re.compile(
    r"(?:^|[^A-Za-z])(?:checkpoint|ckpt|step|iter)[-_=]?(\d+)(?![0-9A-Za-z])", re.IGNORECASE
)
WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""Endings of files of weights."""
# Names of folders in a message.
_SHOWN = 5


class UnmeasuredModelWarning(UserWarning):
    """A run's folder holds models that are not measured: they are no checkpoints of a step."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run.

    Attributes
    ----------
    name : str
        Folder, file or revision name; unique in the run.
    source : str
        Folder, GGUF file, or hub repository.
    tokens : int
        Training tokens seen.
    step : int or None
        Optimiser step, where known.
    revision : str or None
        Hub revision, for hub repositories.
    loss : float or None
        Training loss logged at that step, where known.
    """

    name: str
    source: str
    tokens: int
    step: int | None = None
    revision: str | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        try:
            whole = int(self.tokens)
        except (TypeError, ValueError, OverflowError):
            whole = 0
        if whole != self.tokens or whole <= 0:
            raise ArgumentError(
                f"{self.name}: tokens={quoted(self.tokens)} must be a positive whole number"
            )
        object.__setattr__(self, "tokens", whole)


def find_checkpoints(
    run: str | Path | Sequence[str | Path],
    *,
    tokens_per_step: float | str | None = None,
    tokens: Mapping[str, float] | str | Path | None = None,
    tokens_pattern: str | None = None,
    revisions: Sequence[str] = (),
) -> tuple[Checkpoint, ...]:
    """List a run's checkpoints in the order of their tokens.

    Parameters
    ----------
    run : path, sequence of paths, or hub repository
        A folder of checkpoints, one checkpoint, a GGUF file, a list of these, or (with `revisions`)
        a hub repository. The checkpoints of a folder are its subfolders ``checkpoint-N``,
        ``step-N``, ``stepN`` and the like; if there are none, those whose names are just the step,
        or that `tokens` or `tokens_pattern` names; without these, its files of weights whose names
        say a step (``step-N.pt``), for a `loader`. Other models in the folder, such as a final one,
        and a step 0 are not measured; an `UnmeasuredModelWarning` names them.
    tokens_per_step : float or str, optional
        Training tokens per optimiser step, as a number or with a suffix: ``"4M"``.
    tokens : mapping or path, optional
        Tokens of each checkpoint by name or step; as a path, a JSON object, or a CSV file with the
        columns ``checkpoint`` (or ``step``) and ``tokens``.
    tokens_pattern : str, optional
        Regular expression with one group for the number in a name, e.g. ``tokens(\\d+B)``. Here and
        in a mapping the suffixes K, M, B and T multiply.
    revisions : sequence of str
        Revisions of a hub repository.

    Returns
    -------
    tuple of Checkpoint

    Raises
    ------
    CheckpointError
        No checkpoint, tokens unknown or contradictory, a step or a token count twice. Every problem
        is listed at once, before anything is measured.
    ArgumentError
        An argument is of another kind.
    """
    counts = TokenCounts.of(tokens_per_step, tokens, tokens_pattern)
    # In this order their problems are told; that of names has 1000 before 40.
    entries = sorted(_entries(run, revisions, counts), key=lambda entry: _step_of(entry[0]) or 0)
    found: list[Checkpoint] = []
    problems: list[str] = []
    untrained: list[str] = []
    for name, source, revision in entries:
        state, complaint = _trainer_state(Path(source)) if revision is None else ({}, None)
        if complaint:
            problems.append(complaint)
        step = _step_of(name)
        logged = state.get("global_step")
        if isinstance(logged, int):
            if step is not None and step != logged:
                problems.append(f"{name}: trainer_state.json says step {logged}, the name {step}")
            step = logged if step is None else step
        try:
            count = counts.count(name, step, state)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if count == 0:
            untrained.append(name)
        else:
            loss = _logged_loss(state, step)
            found.append(Checkpoint(name, source, count, step, revision, loss))
    if untrained and found:
        warnings.warn(
            f"not measured, because it has seen no tokens: {', '.join(untrained)}",
            UnmeasuredModelWarning,
            stacklevel=2,
        )
    elif untrained:
        problems += [f"{name}: a checkpoint without any training" for name in untrained]
    return in_order(found, problems)


def in_order(found: Sequence[Checkpoint], problems: Sequence[str] = ()) -> tuple[Checkpoint, ...]:
    """Return checkpoints in the order of their tokens.

    Raises
    ------
    CheckpointError
        A name, step or token count that occurs twice, and other `problems` with the series.
    """
    problems = [*problems, *_duplicates(found)]
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in _summed_up(problems))
        raise CheckpointError(f"the checkpoint series cannot be used:\n{lines}")
    return tuple(sorted(found, key=lambda checkpoint: checkpoint.tokens))


def _summed_up(problems: Sequence[str]) -> list[str]:
    """Problems (``name: what``) that differ in the name alone in one line: a run may have many."""
    named: dict[str, list[str]] = {}
    for problem in problems:
        name, _, what = problem.partition(": ")
        named.setdefault(what, []).append(name)
    lines = []
    for what, names in named.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"{', '.join(names[:_SHOWN])}{more}: {what}")
    return lines


def run_of(checkpoints: Sequence[Checkpoint], place: str | Path | None = None) -> str:
    """Name of the run that checkpoints belong to.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        In the order of their tokens, at least one.
    place : path, optional
        The folder or repository that they were found in.

    Returns
    -------
    str
        The name of that folder, or of the one folder that holds all of them, so that a run keeps
        its name while it grows and two runs have two. Without such a folder, or for one model whose
        name says no step, the name of the last checkpoint.
    """
    last = checkpoints[-1]
    if place is not None and str(Path(place)) not in {one.source for one in checkpoints}:
        return Path(place).resolve().name
    if last.revision is not None:
        return Path(last.source).name
    holders = {Path(one.source).parent.resolve().name for one in checkpoints}
    a_series = len(checkpoints) > 1 or _step_of(last.name) is not None
    # Models in training have sources that are no paths.
    if a_series and len(holders) == 1 and all(Path(one.source).exists() for one in checkpoints):
        return holders.pop() or last.name
    return last.name


def _step_of(name: str) -> int | None:
    """The step that a checkpoint's name says; None where it says none."""
    if Path(name).suffix in WEIGHTS:
        found = _FILE.findall(Path(name).stem)
        return int(found[0]) if len(found) == 1 else None
    match = _FOLDER.match(name) or _NUMBER.match(name)
    return int(match.group(1)) if match else None


def _entries(
    run: str | Path | Sequence[str | Path], revisions: Sequence[str], counts: TokenCounts
) -> list[tuple[str, str, str | None]]:
    """(name, source, revision) of each checkpoint."""
    if isinstance(revisions, str) or not isinstance(revisions, Sequence):
        raise ArgumentError(f"revisions must be a sequence of names, got {quoted(revisions)}")
    if revisions:
        if not isinstance(run, (str, Path)):
            raise ArgumentError("revisions= needs one hub repository, not a list")
        return [(revision, str(run), revision) for revision in revisions]
    found = _in_folder(Path(run), counts) if isinstance(run, (str, Path)) else _listed(run)
    return [(name, str(path), None) for name, path in found]


def _listed(run: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """Name and path of each checkpoint of a list."""
    if not isinstance(run, Iterable) or not all(isinstance(i, (str, Path)) for i in run):
        raise ArgumentError(f"run must be a folder or a list of checkpoints, got {quoted(run)}")
    paths = [Path(item) for item in run]
    for path in paths:
        if not path.exists():
            raise CheckpointError(f"{path}: no such checkpoint")
    if not paths:
        raise CheckpointError("the list of checkpoints is empty")
    return [(path.name, path) for path in paths]


def _in_folder(path: Path, counts: TokenCounts) -> list[tuple[str, Path]]:
    """Name and path of each checkpoint in a run's folder, or of the one that a path is."""
    if path.is_file():
        return [(path.resolve().name, path)]
    if not path.is_dir():
        raise CheckpointError(
            f"{path}: no such folder (a hub repository needs its revisions named)"
        )
    children = _children(path, counts)
    # A checkpoint of DeepSpeed holds a folder global_stepN with the state of its optimiser.
    itself = _is_model(path) and not any(map(_is_model, children))
    if children and not itself:
        _warn_of_others(path, children)
        return [(child.name, child) for child in children]
    if _is_model(path):
        return [(path.resolve().name, path)]
    models = sorted(child.name for child in path.iterdir() if _is_model(child))
    more = ", ..." if len(models) > _SHOWN else ""
    raise CheckpointError(
        f"{path} holds no folders named by a step (checkpoint-N, ckpt-N, step-N, stepN, "
        "global_stepN, iter_N, N)"
        + (f", only {', '.join(models[:_SHOWN])}{more}" if models else "")
        + ": give the tokens of each by name (--tokens-file) or a pattern that finds them in the "
        "names (--tokens-pattern)"
    )


def _children(path: Path, counts: TokenCounts) -> list[Path]:
    """Checkpoints in a run's folder, by what names them."""
    everything = sorted(path.iterdir())
    candidates = [child for child in everything if child.suffix == ".gguf" or not child.is_file()]
    named = [child for child in candidates if _FOLDER.match(child.name)]
    if named:
        return named
    # A number alone may be a date; not where models are called so. One of them may be damaged.
    numbered = [child for child in candidates if _NUMBER.match(child.name)]
    told = [child for child in candidates if counts.tells(child.name)]
    folders = next((found for found in (numbered, told) if any(map(_is_model, found))), [])
    if folders:
        return folders
    # Files of weights, one for each checkpoint: for a loader of the user's own.
    files = [child for child in everything if child.suffix in WEIGHTS and child.is_file()]
    return [f for f in files if _step_of(f.name) is not None or counts.tells(f.name)]


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _warn_of_others(path: Path, children: Sequence[Path]) -> None:
    """Name the models beside the checkpoints of a run: a trainer leaves its final one there."""
    others = sorted(
        child.name for child in path.iterdir() if child not in children and _is_model(child)
    )
    if _is_model(path):
        others.insert(0, f"the model in {path.resolve().name} itself")
    if others:
        warnings.warn(
            f"not measured, because its name has no step: {', '.join(others)} (beside "
            f"{len(children)} checkpoints, which are measured). Give the folders one by one to "
            "include it",
            UnmeasuredModelWarning,
            stacklevel=5,
        )


def _trainer_state(folder: Path) -> tuple[dict[str, Any], str | None]:
    path = folder / "trainer_state.json"
    if not path.is_file():
        return {}, None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{folder.name}: trainer_state.json cannot be read ({error})"
    if not isinstance(state, dict):
        return {}, f"{folder.name}: trainer_state.json is not an object"
    return state, None


def _logged_loss(state: Mapping[str, Any], step: int | None) -> float | None:
    log = state.get("log_history")
    for record in reversed(log if isinstance(log, list) else []):
        if isinstance(record, dict) and record.get("step") == step:
            loss = record.get("loss")
            if isinstance(loss, (int, float)) and math.isfinite(loss):
                return float(loss)
    return None


def _duplicates(found: Sequence[Checkpoint]) -> list[str]:
    problems: list[str] = []
    for what in ("name", "step", "tokens"):
        owners: dict[Any, Checkpoint] = {}
        for checkpoint in found:
            value = getattr(checkpoint, what)
            if value is None:
                continue
            if value in owners:
                both = [checkpoint, owners[value]]
                # Two of one name can only be told apart by where they are.
                one, other = (c.source if what == "name" else c.name for c in both)
                problems.append(f"{one}: same {what} ({value}) as {other}")
            owners[value] = checkpoint
    return problems

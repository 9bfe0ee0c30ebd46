"""How many training tokens a checkpoint has seen, from whatever says so."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefit.errors import ArgumentError, CheckpointError, quoted
from sparsefit.table.schema import BILLIONS_BELOW

_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class TokenCounts:
    """What says how many tokens the checkpoints of a series have seen.

    Attributes
    ----------
    per_step : float or None
        Tokens per optimiser step.
    mapping : mapping or None
        Tokens by a checkpoint's name or step.
    pattern : re.Pattern or None
        Expression whose one group is the number in a name.
    """

    per_step: float | None
    mapping: Mapping[str, float] | None
    pattern: re.Pattern[str] | None

    @classmethod
    def of(
        cls,
        tokens_per_step: float | str | None,
        tokens: Mapping[str, float] | str | Path | None,
        tokens_pattern: str | None,
    ) -> TokenCounts:
        """Read the arguments of `find_checkpoints`.

        Raises
        ------
        ArgumentError, CheckpointError
            A mapping that holds no numbers, a file that is no mapping, a pattern without a group.
        """
        return cls(_per_step(tokens_per_step), _mapping(tokens), _pattern(tokens_pattern))

    def count(self, name: str, step: int | None, state: Mapping[str, Any]) -> int:
        """Return a checkpoint's tokens; 0 only where it is step 0.

        Parameters
        ----------
        name : str
            Name of the checkpoint.
        step : int or None
            Its step, where known.
        state : mapping
            Its ``trainer_state.json``.

        Raises
        ------
        CheckpointError
            Nothing says it, or what does contradicts itself or says no possible number.
        """
        claims = self._claims(name, step, state)
        for source, value in claims.items():
            if not math.isfinite(value):
                raise CheckpointError(f"{name}: {source} says {value} training tokens")
        if step == 0 and not any(claims.values()):
            return 0
        if not claims:
            raise CheckpointError(f"{name}: training tokens unknown: {self._why_unknown(step)}")
        least, most = min(claims.values()), max(claims.values())
        if most - least > max(1, 1e-6 * most):
            said = ", ".join(f"{source} says {value:.12g}" for source, value in claims.items())
            raise CheckpointError(f"{name}: contradictory training tokens: {said}")
        if round(least) <= 0:
            raise CheckpointError(f"{name}: training tokens must be positive, not {least:g}")
        if least < BILLIONS_BELOW and least != round(least):
            raise CheckpointError(
                f"{name}: {least:g} training tokens is not a whole count and looks like billions. "
                "Give raw counts, or write 1.2e9 or 1.2B"
            )
        return round(least)

    def tells(self, name: str) -> bool:
        """Whether the mapping has a name, or the pattern matches it."""
        mapped = self.mapping is not None and name in self.mapping
        return mapped or (self.pattern is not None and self.pattern.search(name) is not None)

    def _claims(self, name: str, step: int | None, state: Mapping[str, Any]) -> dict[str, float]:
        claims: dict[str, float] = {}
        seen = state.get("num_input_tokens_seen")
        # transformers writes 0 where it was not asked to count.
        if isinstance(seen, (int, float)) and seen > 0:
            claims["trainer_state.json"] = float(seen)
        if self.per_step is not None and step is not None:
            claims["tokens per step"] = self.per_step * step
        for key in (name, str(step)):
            if self.mapping is not None and key in self.mapping:
                claims["the mapping"] = self.mapping[key]
                break
        match = None if self.pattern is None else self.pattern.search(name)
        if match:
            try:
                claims["the pattern"] = number_of_tokens(match.group(1))
            except ValueError as error:
                raise CheckpointError(f"{name}: the pattern's group matched {error}") from None
        return claims

    def _why_unknown(self, step: int | None) -> str:
        tried = []
        if self.per_step is not None and step is None:
            tried.append("its name has no step that tokens per step could multiply")
        if self.mapping is not None:
            tried.append("it is not in the mapping of names to tokens")
        if self.pattern is not None:
            tried.append("the pattern does not match its name")
        return ", ".join(tried) or (
            "give tokens per step (--tokens-per-step), a mapping (--tokens-file) or a pattern for "
            "its name (--tokens-pattern)"
        )


def number_of_tokens(value: Any) -> float:
    """Read a number of tokens: 1.2e9, "1200000000", "1.2B".

    Raises
    ------
    ValueError
        Not a number; the message begins with the value.
    """
    match = re.fullmatch(r"\s*([\d.]+)\s*([KMBT])\s*", str(value).upper())
    try:
        return float(match.group(1)) * _UNITS[match.group(2)] if match else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{quoted(value)}, not a number like 1.2e9 or 1.2B") from None


def _per_step(tokens: float | str | None) -> float | None:
    try:
        return None if tokens is None else number_of_tokens(tokens)
    except ValueError as error:
        raise ArgumentError(f"tokens_per_step= is {error}") from None


def _mapping(tokens: Mapping[str, float] | str | Path | None) -> dict[str, float] | None:
    if tokens is None:
        return None
    if isinstance(tokens, Mapping):
        try:
            return {str(key): number_of_tokens(value) for key, value in tokens.items()}
        except ValueError as error:
            raise ArgumentError(f"tokens= holds {error}") from None
    if not isinstance(tokens, str | Path):
        raise ArgumentError(
            f"tokens must be a mapping of names to tokens or a file, got {quoted(tokens)}"
        )
    path = Path(tokens)
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            pairs = list(json.loads(content).items())
        else:
            rows = csv.DictReader(content.splitlines())
            pairs = [(row.get("checkpoint") or row["step"], row["tokens"]) for row in rows]
        return {str(key): number_of_tokens(value) for key, value in pairs}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a JSON object of name -> tokens, or a CSV file with the columns "
            f"checkpoint (or step) and tokens ({type(error).__name__}: {error})"
        ) from error


def _pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ArgumentError(
            f"tokens_pattern={quoted(pattern)} is not a regular expression: {error}"
        ) from None
    if expression.groups != 1:
        raise ArgumentError(
            f"tokens_pattern={quoted(pattern)} needs exactly one group for the number"
        )
    return expression

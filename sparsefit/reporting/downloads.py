"""The numbers of a report as files inside the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sparsefit.reporting.run_section import RunNumbers, Settings
from sparsefit.strict_json import plain

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fits import Fits


@dataclass(frozen=True)
class Download:
    """A file inside the page.

    Attributes
    ----------
    name : str
        File name offered.
    label : str
        What it holds.
    uri : str
        ``data:`` URI.
    size : int
        Bytes of the file.
    """

    name: str
    label: str
    uri: str
    size: int


_LABELS = {
    "forecast": "forecasts with both bands",
    "derivative": "slopes per unit of log tokens",
    "budgets": "token budgets",
    "warmup": "limit for every choice of warm-up",
    "points": "points, roles and residuals",
}


def downloads(
    fits: Fits, numbers: Mapping[str, RunNumbers], settings: Settings, extra: Mapping[str, Any]
) -> tuple[Download, ...]:
    """Pack all numbers: one CSV a kind of table, one JSON document with everything.

    Parameters
    ----------
    fits : Fits
        The runs.
    numbers : mapping
        Tables of each run.
    settings : Settings
        Level of the intervals.
    extra : mapping
        Further JSON-ready entries, such as a comparison.
    """
    tables: dict[str, tuple[str, pd.DataFrame]] = {
        "summary": ("one row a run", fits.glance(settings.level)),
        "coefficients": ("one row a coefficient", fits.tidy(settings.level)),
    }
    for field in fields(RunNumbers):
        parts = {run: getattr(own, field.name) for run, own in numbers.items()}
        tables[field.name] = (_LABELS[field.name], _stack(parts))
    files = [
        _download(f"{name}.csv", label, "text/csv", table.to_csv(index=False))
        for name, (label, table) in tables.items()
    ]
    document = {
        "level": settings.level,
        "provenance": next(iter(fits.values())).provenance,
        "limits": {run: fit.limit(settings.level).to_dict() for run, fit in fits.items()},
        "notes": {run: list(fit.notes) for run, fit in fits.items()},
        **{name: table for name, (_, table) in tables.items()},
        **extra,
    }
    text = json.dumps(plain(document), allow_nan=False, indent=1)
    return (*files, _download("numbers.json", "everything above", "application/json", text))


def _stack(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    stacked = []
    for run, table in parts.items():
        own = table.drop(columns="run", errors="ignore")
        own.insert(0, "run", run)
        stacked.append(own)
    return pd.concat(stacked, ignore_index=True)


def _download(name: str, label: str, kind: str, text: str) -> Download:
    raw = text.encode("utf-8")
    uri = f"data:{kind};charset=utf-8;base64,{base64.b64encode(raw).decode()}"
    return Download(name, label, uri, len(raw))

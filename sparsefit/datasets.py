"""Data sets that ship with sparsefit: the paper's tables, measured curves, reconstructions.

Each is a table with a source card; ``data/README.md`` describes the card. A table and card that are
added to the folder show up here by themselves.

>>> import sparsefit as sf
>>> sf.datasets.list()  # doctest: +SKIP
>>> sf.datasets.load("paper_table2")  # doctest: +SKIP
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import DatasetError, quoted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["list", "load"]

KINDS = ("measured", "paper-table", "reconstruction")

_CARD = ".card.json"
_NEEDED = ("title", "kind", "source", "rows", "notes")
_RECONSTRUCTION = "paper_reconstruction"


def folder() -> Path:
    """Return the folder that holds the shipped tables and cards."""
    import sparsefit.data

    return Path(sparsefit.data.__path__[0])


def list() -> pd.DataFrame:
    """List the shipped data sets.

    Returns
    -------
    pandas.DataFrame
        Columns `name`, `title`, `kind` (measured, paper-table, reconstruction), `rows`, `source`;
        sorted by kind and name.
    """
    import pandas as pd

    rows = [
        {"name": name, **{key: card[key] for key in ("title", "kind", "rows", "source")}}
        for name, card in _cards().items()
    ]
    return pd.DataFrame(rows).sort_values(["kind", "name"], ignore_index=True)


def load(name: str) -> pd.DataFrame:
    """Load a shipped data set.

    Parameters
    ----------
    name : str
        As in `list`.

    Returns
    -------
    pandas.DataFrame
        ``attrs["dataset"]`` holds the name and ``attrs["card"]`` the source card; a measurement
        table is validated and also carries ``attrs["provenance"]``.

    Raises
    ------
    DatasetError
        If there is no such data set.
    """
    cards = _cards()
    if not isinstance(name, str) or name not in cards:
        close = get_close_matches(str(name), cards, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        known = ", ".join(sorted(cards))
        raise DatasetError(f"there is no data set {quoted(name)}. {hint}Known: {known}")
    card = cards[name]
    if name == _RECONSTRUCTION:
        table = _reconstruct()
    elif card.get("schema") == "measurement-table":
        from sparsefit.table import read_table

        table = read_table(_table_file(name), min_points=0)
    else:
        table = _read_free(_table_file(name), card)
    table.attrs.update(dataset=name, card=card)
    return table


def _cards() -> dict[str, dict[str, Any]]:
    cards = {}
    for path in sorted(folder().glob(f"*{_CARD}")):
        card = json.loads(path.read_text(encoding="utf-8"))
        lacking = [key for key in _NEEDED if key not in card]
        if lacking or card["kind"] not in KINDS:
            raise DatasetError(
                f"{path.name}: the card needs {', '.join(_NEEDED)} and a kind of {', '.join(KINDS)}"
            )
        cards[path.name.removesuffix(_CARD)] = card
    return cards


def _table_file(name: str) -> Path:
    for suffix in (".csv", ".parquet"):
        path = folder() / f"{name}{suffix}"
        if path.is_file():
            return path
    raise DatasetError(f"{name}{_CARD} has no table: add {name}.csv or {name}.parquet")


def _read_free(path: Path, card: dict[str, Any]) -> pd.DataFrame:
    from sparsefit.errors import TableError
    from sparsefit.table import read_file

    columns = card["columns"]
    text = frozenset(name for name, column in columns.items() if column["type"] == "text")
    file = read_file(str(path), text_columns=text)
    if file.frame is None or file.faults:
        raise TableError(file.faults, path.name)
    if tuple(file.frame.columns) != tuple(columns):
        raise DatasetError(f"{path.name}: the columns of its card are {', '.join(columns)}")
    types = {"text": object, "integer": np.int64, "number": np.float64}
    return file.frame.astype({name: types[column["type"]] for name, column in columns.items()})


def _reconstruct() -> pd.DataFrame:
    """Curves of Table 2 at 10, 20, ..., 400 training tokens per parameter, without noise."""
    import pandas as pd

    from sparsefit import laws
    from sparsefit.table import validate

    coefficients = load("paper_table2").merge(load("paper_table3"), on="parameter_scale")
    ratio = np.arange(10, 401, 10)
    runs = []
    for row in coefficients.to_dict("records"):
        tokens = ratio * float(row["n_params"])
        law = laws.get(str(row["law"]))
        theta = [float(row[name]) for name in law.parameter_names]
        runs.append(
            pd.DataFrame(
                {
                    "run": f"{row['parameter_scale'].lower()}_{row['activation']}_reconstruction",
                    "tokens": tokens,
                    "activation_ratio": law.value(tokens / laws.TOKENS_PER_UNIT, theta),
                    "activation": row["activation"],
                    "n_params": row["n_params"],
                }
            )
        )
    table = validate(pd.concat(runs, ignore_index=True))
    table.attrs["provenance"] = {"computed_from": ["paper_table2", "paper_table3"]}
    return table

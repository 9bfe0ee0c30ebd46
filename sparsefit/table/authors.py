"""The JSON files that the authors of the sparsing law published.

One file a training run, ``{"token_passed": [...], "activation_ratio": [...]}``; the file name, such
as ``0.1b_relu.txt``, gives parameter scale and activation function.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sparsefit.errors import Fault

NON_EMBEDDING_PARAMETERS = {
    "0.1b": 1.08e8,
    "0.2b": 2.41e8,
    "0.4b": 4.52e8,
    "0.8b": 7.60e8,
    "1.2b": 1.18e9,
    "2.4b": 2.44e9,
}
"""Table 3 of arXiv 2411.02335, by the scale in a file name."""

_NAME = re.compile(r"(?P<scale>\d+(\.\d+)?b)_(?P<activation>relu|silu)", re.IGNORECASE)


def parse(
    content: bytes, name: str, run: str | None
) -> tuple[dict[str, list[Any]] | None, list[Fault], list[str]]:
    """Read one of the authors' files.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        Its name; without the suffix it names the run.
    run : str or None
        Name of the run, instead of the file's.

    Returns
    -------
    columns : dict of str to list, or None
        Cells by column: run, tokens, activation_ratio, what else the file has, activation and
        n_params as far as the file name gives them.
    faults : list of Fault
    notes : list of str
        What was taken from the file name.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return None, [Fault(None, None, f"this is not JSON ({error})", _REMEDY)], []
    if not isinstance(document, dict) or "token_passed" not in document:
        return None, [Fault(None, "token_passed", "the file lacks this key", _REMEDY)], []
    if "tokens" in document:
        remedy = "Keep one of them"
        return None, [Fault(None, "tokens", "the file has 'token_passed' as well", remedy)], []
    others = {key: value for key, value in document.items() if key != "token_passed"}
    columns: dict[str, Any] = {"tokens": document["token_passed"], **others}
    size = len(columns["tokens"]) if isinstance(columns["tokens"], list) else 0
    faults = []
    for key, value in document.items():
        if not isinstance(value, list):
            faults.append(
                Fault(None, key, f"a {type(value).__name__} where a list is needed", _REMEDY)
            )
        elif len(value) != size:
            problem = f"{len(value)} values where 'token_passed' has {size}"
            faults.append(Fault(None, key, problem, "Give one value per checkpoint in each list"))
    if faults:
        return None, faults, []
    stem = name.rsplit(".", 1)[0]
    taken = []
    if "run" not in columns:
        columns = {"run": [run or stem] * size, **columns}
        taken += [] if run else [f"run {stem!r}"]
    match = _NAME.fullmatch(stem)
    if match and "activation" not in columns:
        activation = match["activation"].lower()
        columns["activation"] = [activation] * size
        taken.append(f"activation {activation!r}")
    n_params = NON_EMBEDDING_PARAMETERS.get(match["scale"].lower()) if match else None
    if n_params is not None and "n_params" not in columns:
        columns["n_params"] = [n_params] * size
        taken.append(f"n_params {n_params:.3g} (Table 3 of arXiv 2411.02335; replace it if wrong)")
    notes = [f"{name}: from the file name, {', '.join(taken)}"] if taken else []
    return columns, [], notes


_REMEDY = (
    "Give JSON with the lists 'token_passed' and 'activation_ratio', or CSV or Parquet; of a "
    "folder that holds other files too, name the tables by a list or a pattern"
)

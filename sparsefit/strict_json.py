"""Values as strict JSON can hold them: it knows neither NaN nor infinity."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Turn a result into what `json.dumps` writes as strict JSON.

    NaN and infinite numbers become None, NumPy arrays and scalars become lists and Python numbers,
    a DataFrame becomes a list of its rows, and keys become text. Anything else stays as it is.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

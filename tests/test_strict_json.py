"""Strict JSON holds neither NaN nor infinity, nor NumPy's and pandas' types."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd

from sparsefit.strict_json import plain


def test_whatever_results_hold_becomes_strict_json() -> None:
    held = {
        "ends": (0.5, math.inf),
        "array": np.array([[1.0, np.nan], [-np.inf, 2.0]]),
        "count": np.int64(3),
        "share": np.float64("nan"),
        "yes": np.bool_(True),
        3: None,
        "table": pd.DataFrame({"run": ["a", "b"], "n": [1, 2], "se": [0.1, np.nan]}),
    }
    assert json.loads(json.dumps(plain(held), allow_nan=False)) == {
        "ends": [0.5, None],
        "array": [[1.0, None], [None, 2.0]],
        "count": 3,
        "share": None,
        "yes": True,
        "3": None,
        "table": [{"run": "a", "n": 1, "se": 0.1}, {"run": "b", "n": 2, "se": None}],
    }

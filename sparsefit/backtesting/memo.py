"""Results that a backtest needs again and again: what was made of runs that are shown in full.

A pooled method sees the same other runs in cell after cell. What it makes of them depends on their
points alone, so it is kept, the latest few hundred, under a fingerprint of them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_MOST = 256
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def fingerprint(table: pd.DataFrame) -> str:
    """Hash of the columns and values of a table."""
    from pandas.util import hash_pandas_object

    values = hash_pandas_object(table, index=False).to_numpy().tobytes()
    return hashlib.sha256(repr(list(table.columns)).encode() + values).hexdigest()


def recalled(key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """What `make` returned for this key before, or returns now.

    Parameters
    ----------
    key : tuple
        Everything that the result depends on.
    make : callable
        Makes the result; what it raises is not kept.
    """
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]  # type: ignore[no-any-return]
    found = make()
    _kept[key] = found
    while len(_kept) > _MOST:
        _kept.popitem(last=False)
    return found

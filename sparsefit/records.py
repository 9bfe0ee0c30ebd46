"""Rows of a table as named tuples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def records(table: pd.DataFrame, *, index: bool = True) -> Iterator[Any]:
    """Iterate over rows by column name.

    The type of a cell follows from its column, which type checkers cannot know; pandas' own stubs
    say "anything that a cell can hold", and arithmetic on such unions takes a checker minutes.
    """
    return table.itertuples(index=index)

"""Read, write and check measurement tables.

A measurement table is tidy, one row per training run and checkpoint; `COLUMNS` says what each known
column means.
"""

from sparsefit.table.files import read_file, write_frame
from sparsefit.table.io import read_table, write_table
from sparsefit.table.schema import COLUMNS
from sparsefit.table.validation import unusable_rows, usable_rows, validate

__all__ = [
    "COLUMNS",
    "read_file",
    "read_table",
    "unusable_rows",
    "usable_rows",
    "validate",
    "write_frame",
    "write_table",
]

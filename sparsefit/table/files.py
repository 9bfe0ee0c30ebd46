"""One file to cells and back: format by suffix, provenance beside or inside the file.

CSV has no place for metadata that other readers would skip, so its provenance stands in a sidecar,
``<file>.provenance.json``, with the SHA-256 of the file that it belongs to. Parquet carries it in
the metadata of its schema.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparsefit.errors import ArgumentError, Fault, TableError
from sparsefit.table import authors, csvfile, locations
from sparsefit.table.locations import SIDECAR, SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

_METADATA_KEY = b"sparsefit"


@dataclass
class RawFile:
    """A file as read, before any check of its values.

    Attributes
    ----------
    path : str
        As given.
    frame : pandas.DataFrame or None
        Its cells; None where the file has no usable form.
    lines : list of int or None
        Line of the text file on which each row starts.
    faults : list of Fault
        What is wrong with its form.
    notes : list of str
        What was taken from the file's name, and whether the file changed after its provenance was
        written.
    sha256 : str
        Of the file's content.
    provenance : dict
        As stored with the file; empty where there is none.
    """

    path: str
    frame: pd.DataFrame | None = None
    lines: list[int] | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sha256: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)


def read_file(
    path: str, run: str | None = None, text_columns: frozenset[str] = frozenset()
) -> RawFile:
    """Read one file; faults of its form are returned, not raised.

    Parameters
    ----------
    path : str
        Local path or fsspec URL.
    run : str, optional
        Name of the run where the file has no column `run`.
    text_columns : frozenset of str
        Columns of a CSV file that hold text even where it looks like numbers.
    """
    file = RawFile(path)
    form = locations.suffix(path)
    if form is None:
        file.faults = [_suffix_fault(path)]
        return file
    try:
        content = locations.read_bytes(path)
    except TableError as error:
        file.faults = list(error.faults)
        return file
    file.sha256 = hashlib.sha256(content).hexdigest()
    if form == ".parquet":
        _read_parquet(file, content)
    elif form.startswith(".csv"):
        _read_csv(file, content, text_columns, compressed=form.endswith(".gz"))
    else:
        _read_authors(file, content, run)
    if run is not None and file.frame is not None and "run" not in file.frame.columns:
        file.frame.insert(0, "run", [run] * len(file.frame))
    return file


def _suffix_fault(path: str) -> Fault:
    if not locations.is_remote(path) and not locations.exists(path):
        return Fault(None, None, "there is no such file", "Check the path")
    remedy = f"Use one of {', '.join(SUFFIXES)}"
    if path.lower().endswith((".xlsx", ".xls", ".ods")):
        remedy = "Save the sheet as CSV"
    elif path.lower().endswith((".tsv", ".tab")):
        remedy = "Separate the cells by commas and name the file .csv"
    return Fault(None, None, "the suffix is not known", remedy)


def _read_csv(
    file: RawFile, content: bytes, text_columns: frozenset[str], compressed: bool
) -> None:
    import pandas as pd

    if compressed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            remedy = "Compress the file again, or write it as plain CSV"
            file.faults = [Fault(None, None, f"this is not a gzip file ({error})", remedy)]
            return
    sidecar = _read_sidecar(file)
    rows, file.faults = csvfile.parse(content, text_columns.union(sidecar.get("text_columns", ())))
    if rows is None:
        return
    file.lines = rows.lines
    # Cells of a known column keep their own type: a single word must not make text of numbers.
    file.frame = pd.DataFrame(rows.columns)


def _read_sidecar(file: RawFile) -> dict[str, Any]:
    path = file.path + SIDECAR
    if not locations.exists(path):
        return {}
    try:
        sidecar = json.loads(locations.read_bytes(path))
        file.provenance = dict(sidecar["provenance"])
        unchanged = sidecar["sha256"] == file.sha256
    except (ValueError, KeyError, TypeError):
        file.notes.append(f"{locations.file_name(path)} is damaged: no provenance was read")
        return {}
    if not unchanged:
        file.notes.append(
            f"{locations.file_name(file.path)} has changed since its provenance was written"
        )
    return sidecar


def _read_parquet(file: RawFile, content: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
        frame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        problem = f"this is not a readable Parquet file ({str(error).splitlines()[0]})"
        file.faults = [Fault(None, None, problem, "Write the file again")]
        return
    stored = (table.schema.metadata or {}).get(_METADATA_KEY)
    if stored is not None:
        try:
            file.provenance = dict(json.loads(stored))
        except (ValueError, TypeError):
            file.notes.append(f"{locations.file_name(file.path)}: its provenance is damaged")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()  # a named index is a column of the file
    frame.attrs = {}
    file.frame = frame


def _read_authors(file: RawFile, content: bytes, run: str | None) -> None:
    import pandas as pd

    name = locations.file_name(file.path)
    columns, file.faults, file.notes = authors.parse(content, name, run)
    if columns is not None:
        file.frame = pd.DataFrame(columns)


def write_frame(frame: pd.DataFrame, path: locations.Location, provenance: dict[str, Any]) -> None:
    """Write any tidy table with its provenance, without checking its values.

    Parameters
    ----------
    frame : pandas.DataFrame
        With text as column names.
    path : path
        Local path or fsspec URL; the suffix gives the format: ``.csv``, ``.csv.gz``, ``.parquet``.
        A local file appears complete or not at all.
    provenance : dict
        JSON-ready, see `sparsefit.provenance`.

    Raises
    ------
    ArgumentError
        For another suffix.
    TableError
        Where the file cannot be written, or Parquet cannot hold a column.
    """
    target = locations.path_text(path)
    form = locations.suffix(target)
    if form == ".parquet":
        locations.write_bytes(target, _parquet(frame, provenance, target))
        return
    if form is None or not form.startswith(".csv"):
        raise ArgumentError(f"{target}: write a table as .csv, .csv.gz or .parquet")
    content = csvfile.render(frame)
    if form.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    sidecar = {
        "provenance": provenance,
        "sha256": hashlib.sha256(content).hexdigest(),
        "text_columns": [name for name in frame.columns if _holds_text(frame[name])],
    }
    locations.write_bytes(target, content)
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    locations.write_bytes(target + SIDECAR, text.encode())


def _holds_text(series: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(series, skipna=True) == "string"


def _parquet(frame: pd.DataFrame, provenance: dict[str, Any], path: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bare = frame.copy(deep=False)
    bare.attrs = {}
    faults = []
    try:
        table = pa.Table.from_pandas(bare, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError):
        for name in bare.columns:
            try:
                pa.Array.from_pandas(bare[name])
            except (pa.ArrowException, ValueError, TypeError) as error:
                problem = f"Parquet cannot hold its values ({str(error).splitlines()[0]})"
                faults.append(Fault(None, str(name), problem, "Convert it to text or numbers"))
        raise TableError(faults, path) from None
    metadata = {**(table.schema.metadata or {}), _METADATA_KEY: json.dumps(provenance).encode()}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer)
    return buffer.getvalue()

"""What importing a module imports lies below it, so that each layer can be read by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest first; what stands in one row does not import one another either.
LAYERS = (
    ("errors",),
    (
        *("seeds", "records", "counts", "checks", "display", "outputs", "provenance"),
        *("strict_json", "by_run"),
    ),
    ("laws",),
    ("table",),
    ("datasets", "estimation"),
    ("results",),
    ("fitting",),
    ("bayes", "width_depth"),
    ("backtesting",),
    ("plots",),
    ("reporting",),
    ("cli",),
)
LEVEL = {unit: level for level, row in enumerate(LAYERS) for unit in row}


def _run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that importing a file runs: no bodies of functions, nothing for types alone."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from _run_on_import(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from _run_on_import(handler.body)


def imports(path: Path) -> Iterator[str]:
    """Modules that are imported when the file is."""
    for node in _run_on_import(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            if module == "sparsefit":
                names = [alias.name for alias in node.names if not alias.name.startswith("__")]
                yield from [f"sparsefit.{name}" for name in names]
            else:
                yield module
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert "sparsefit" not in names, f"{path}: name the module of sparsefit that is meant"
            yield from names


def unit_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "sparsefit" and len(parts) > 1 else None


PACKAGE = sorted(
    path
    for path in (ROOT / "sparsefit").rglob("*.py")
    if path.relative_to(ROOT / "sparsefit").parts[0] not in ("__init__.py", "__main__.py")
)


@pytest.mark.parametrize("unit", LEVEL)
def test_imports_go_downward(unit: str) -> None:
    for path in PACKAGE:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if unit_of(module) != unit:
            continue
        for other in map(unit_of, imports(path)):
            if other is not None and other != unit:
                assert other in LEVEL, f"{path}: {other} has no place among the layers"
                assert LEVEL[other] < LEVEL[unit], f"{path} imports {other}, which is not below"


def test_every_module_has_a_layer() -> None:
    units = {unit_of(".".join(p.relative_to(ROOT).with_suffix("").parts)) for p in PACKAGE}
    assert units == set(LEVEL)


def test_collectors_need_no_fits() -> None:
    allowed = {"errors", "checks", "outputs", "table", "provenance", "seeds", "collectors"}
    for path in (ROOT / "collectors").rglob("*.py"):
        found = {unit for unit in map(unit_of, imports(path)) if unit is not None}
        assert found <= allowed, f"{path} imports {sorted(found - allowed)}"

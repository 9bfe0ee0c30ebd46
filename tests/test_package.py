"""The package as a whole: cost of importing it, exports, what an installation contains."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sparsefit as sf

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

HEAVY = {
    *("numpy", "scipy", "pandas", "pyarrow", "lmfit", "statsmodels", "matplotlib", "fsspec"),
    *(
        "torch",
        "transformers",
        "safetensors",
        "tokenizers",
        "accelerate",
        "pymc",
        "arviz",
        "nutpie",
    ),
    *("xarray", "jinja2", "tqdm"),
}
OPTIONAL = {
    *("torch", "transformers", "safetensors", "tokenizers", "accelerate", "gguf"),
    *("pymc", "arviz", "nutpie", "pytensor", "xarray"),
}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running `code`."""
    script = (
        f"import sys\n{code}\nprint('\\n'.join({{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    "code",
    [
        "import sparsefit",
        "import sparsefit; dir(sparsefit)",
        "import sparsefit.cli; sparsefit.cli.build_parser()",
        "import sparsefit.errors, sparsefit.provenance",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code):
    assert loaded_by(code) & HEAVY == set()


def test_help_of_every_command_loads_nothing_heavy():
    for command in commands():
        code = (
            f"import sparsefit.cli\ntry:\n    sparsefit.cli.main([{command!r}, '--help'])\n"
            "except SystemExit as done:\n    assert done.code == 0"
        )
        assert loaded_by(code) & HEAVY == set(), command


def test_core_needs_no_optional_package():
    code = (
        "import sparsefit as sf\n"
        "table = sf.datasets.load('paper_reconstruction')\n"
        "sf.validate(table)"
    )
    loaded = loaded_by(code)
    assert loaded & OPTIONAL == set()
    assert loaded & {"scipy", "lmfit", "statsmodels", "matplotlib"} == set()


# A finder that hides packages, as where an extra is not installed.
WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def without(hidden: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process that finds none of the `hidden` packages."""
    script = WITHOUT.format(hidden=hidden) + code
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_every_collector_names_its_extra_where_torch_is_missing():
    code = """
import sparsefit.collectors as collectors, sparsefit.collectors.trainer as trainer
from sparsefit.errors import MissingDependencyError
for package in (collectors, trainer):
    for name in package.__all__:
        try:
            getattr(package, name)
        except MissingDependencyError as error:
            assert "sparsefit[collect]" in str(error) and name in str(error), error
            print(name)
"""
    done = without(OPTIONAL, code)
    assert done.returncode == 0, done.stderr
    assert {"measure_run", "sparse", "train"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    "start",
    [
        "from sparsefit.cli import main\n"
        "sys.exit(main(['measure', 'runs', '--text', 't.txt', '-o', 'points.csv']))",
        "from sparsefit.collectors.trainer.__main__ import main\n"
        "sys.exit(main(['train', 'scales', '--out', 'runs']))",
    ],
)
def test_a_command_without_torch_names_the_extra(start):
    done = without(OPTIONAL, start)
    assert done.returncode == 1
    assert "sparsefit[collect]" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_missing_module_is_not_blamed_on_the_extra():
    from sparsefit.collectors.extra import needed_for

    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed_for("this"):
        importlib.import_module("no_such_module")


def test_every_export_exists():
    assert set(dir(sf)) == set(sf.__all__)
    for name in sf.__all__:
        assert getattr(sf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sf.nothing


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("bayes", "LogNormal"),  # as the docstring of fit_bayes writes it
        ("bayes", "PooledFits"),
        ("backtesting", "register_method"),
        ("width_depth", "fit_segmented"),
    ],
)
def test_modules_are_there_without_an_import_of_their_own(module, name):
    whole = f"sparsefit.{module}"
    loaded_by(f"import sparsefit; assert {name!r} in dir({whole}); {whole}.{name}")


def test_what_the_functions_return_is_exported():
    import inspect

    classes = {name for name in sf.__all__ if inspect.isclass(getattr(sf, name))}
    assert classes == {
        *("Fit", "Fits", "Limit", "Budget", "BayesFit", "PooledFits", "ScaleForecast"),
        *("BreakpointFit", "Backtest", "Comparison", "BestForecast"),
    }


def commands() -> list[str]:
    from sparsefit.cli import COMMANDS

    return list(COMMANDS)


def test_every_command_has_its_two_functions():
    from sparsefit.cli import COMMANDS

    for module, text in COMMANDS.values():
        loaded = importlib.import_module(module)
        assert callable(loaded.add_arguments)
        assert callable(loaded.run)
        assert text


def test_package_list_is_complete():
    places = PROJECT["tool"]["setuptools"]["package-dir"]
    expected = set()
    for package, folder in places.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            expected.add(".".join([package, *parts]))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_every_module_lies_in_a_package():
    for folder in PROJECT["tool"]["setuptools"]["package-dir"].values():
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), module


def test_version_is_stated_once():
    assert PROJECT["project"]["version"] == sf.__version__


def test_extras():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"bayes", "collect", "report", "all"} <= set(extras)
    core = " ".join(PROJECT["project"]["dependencies"])
    assert not any(f"{name}>" in core or f"{name}=" in core for name in OPTIONAL)
    pins = [line for lines in extras.values() for line in lines if "==" in line]
    assert pins == [], "versions are pinned for CI alone, in .ci/constraints.txt"


def test_typed_marker_ships():
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["sparsefit"]
    assert (ROOT / "sparsefit" / "py.typed").is_file()


def test_source_distribution_is_the_whole_checkout():
    """Packages and the files of pyproject are in it by themselves, all else by MANIFEST.in."""
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    taken = {name for first, *names in words if first in ("include", "graft") for name in names}
    needed = {"tests", "docs", "scripts", "benchmarks", "data", ".ci", "CHANGELOG.md", "Makefile"}
    assert needed - taken == set()
    assert [name for name in taken if not (ROOT / name).exists()] == []


def test_readme_has_two_headline_commands():
    """The commands that a newcomer copies: install with a first forecast, and the tests."""
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```sh\n")[1:]
    first = [block.split("```")[0].strip() for block in blocks[:2]]
    assert first[0].startswith("pip install") and "sparsefit demo" in first[0]
    assert "pytest" in first[1]
    assert all(len(block.splitlines()) == 1 for block in first)

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.axes import Axes

import sparsefit as sf
from sparsefit.errors import ArgumentError

OF_FITS = ("fit", "runs", "residuals", "warmup_sensitivity", "limits", "derivative", "budget")


@pytest.mark.parametrize("name", sf.plots.__all__)
def test_signature_is_result_axes_and_named_options(name):
    parameters = list(inspect.signature(getattr(sf.plots, name)).parameters.values())
    assert "ax" in [parameter.name for parameter in parameters]
    kinds = {parameter.kind for parameter in parameters}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    if name in OF_FITS:
        assert [parameter.name for parameter in parameters[:2]] == ["result", "ax"]
        assert parameters[1].default is None
        assert {parameter.kind for parameter in parameters[2:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.getdoc(getattr(sf.plots, name))


def test_all_lists_every_export_and_nothing_else():
    assert set(sf.plots.__all__) == set(sf.plots._EXPORTS)
    assert set(OF_FITS) < set(dir(sf.plots))
    with pytest.raises(AttributeError, match="limits"):
        _ = sf.plots.histogram


@pytest.mark.parametrize("many", [False, True], ids=["one run", "many runs"])
@pytest.mark.parametrize("name", OF_FITS)
def test_draws_on_the_axes_given_and_changes_nothing_else(name, many, fits, axes):
    import matplotlib.pyplot as plt

    settings = dict(matplotlib.rcParams)
    figures = plt.get_fignums()
    result = fits if many else fits["falling_sim"]
    returned = getattr(sf.plots, name)(result, axes)
    assert isinstance(returned, Axes)
    assert returned is axes
    assert axes.figure.axes == [axes]
    assert plt.get_fignums() == figures
    assert dict(matplotlib.rcParams) == settings
    assert axes.get_xlabel()
    assert axes.get_ylabel() or name == "limits"
    axes.figure.draw_without_rendering()
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize("name", OF_FITS)
def test_fits_small_constrained_figures(name, fits):
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4.5, 3.2), layout="constrained").subplots()
    getattr(sf.plots, name)(fits["open_sim"], axes)
    # A collapsed layout warns, and warnings are errors here.
    axes.figure.draw_without_rendering()


def test_without_axes_a_figure_of_pyplot_is_made(fits):
    import matplotlib.pyplot as plt

    axes = sf.plots.limits(fits)
    assert plt.fignum_exists(axes.figure.number)
    plt.close(axes.figure)


@pytest.mark.parametrize("name", OF_FITS)
def test_wrong_arguments_are_typed_errors(name, fits, axes):
    plot = getattr(sf.plots, name)
    with pytest.raises(ArgumentError, match=r"sf\.fit"):
        plot([1, 2, 3], axes)
    with pytest.raises(ArgumentError, match="Axes"):
        plot(fits["rising_sim"], "axes")
    choice = {"run": "nobody"} if name == "fit" else {"runs": ["nobody"]}
    with pytest.raises(ArgumentError, match="falling_sim"):
        plot(fits, axes, **choice)
    choice = {"run": ["falling_sim"]} if name == "fit" else {"runs": 2}
    with pytest.raises(ArgumentError, match="run"):
        plot(fits, axes, **choice)


@pytest.mark.parametrize("style", ["no such style", {"no.such.setting": 1}, 5, ["dark"]])
def test_a_style_that_matplotlib_cannot_use_is_named(fits, axes, style):
    settings = dict(matplotlib.rcParams)
    with pytest.raises(ArgumentError, match="style must be"):
        sf.plots.limits(fits, axes, style=style)
    assert dict(matplotlib.rcParams) == settings


def test_style_is_replaceable_without_touching_the_globals(fits, axes):
    settings = dict(matplotlib.rcParams)
    sf.plots.fit(fits["rising_sim"], axes, style={"lines.linewidth": 7.0})
    assert 7.0 in [line.get_linewidth() for line in axes.lines]
    assert dict(matplotlib.rcParams) == settings
    sf.plots.fit(fits["rising_sim"], axes, style="ggplot")
    assert dict(matplotlib.rcParams) == settings


def test_matplotlib_loads_only_when_something_is_drawn():
    code = (
        "import sys, sparsefit as sf; sf.plots.__all__; sf.plots.limits; "
        "assert 'matplotlib.figure' not in sys.modules; "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", sf.plots.__all__)
def test_no_module_hides_the_plot_of_its_name(name):
    # Importing a submodule sets it as an attribute of the package.
    importlib.import_module(sf.plots._EXPORTS[name])
    assert inspect.isfunction(getattr(sf.plots, name))
    assert sf.plots._EXPORTS[name] != f"sparsefit.plots.{name}"


def test_interactive_mode_that_the_backend_turns_on_stays_on(tmp_path):
    """The backend of notebooks does so when the first figure loads it: the next has to be shown."""
    (tmp_path / "like_a_notebook.py").write_text(
        "import matplotlib\n"
        "from matplotlib.backends.backend_agg import FigureCanvas, FigureManager\n"
        "matplotlib.interactive(True)\n"
    )
    code = (
        "import matplotlib\n"
        "from sparsefit.plots.canvas import new_axes\n"
        "from sparsefit.plots.style import applied\n"
        "with applied():\n    new_axes(None)\n"
        "assert matplotlib.is_interactive()\n"
        "matplotlib.interactive(False)\n"
        "with applied():\n    new_axes(None)\n"
        "assert not matplotlib.is_interactive()\n"
    )
    settings = {"MPLBACKEND": "module://like_a_notebook", "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **settings})

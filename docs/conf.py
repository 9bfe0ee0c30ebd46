"""Configuration of the documentation site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages

import sparsefit

project = "sparsefit"
author = "The sparsefit developers"
copyright = author
release = version = sparsefit.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "index_names",
    "layout",
]
exclude_patterns = [
    "_build",
    "templates",
    "_generated/cli.md",
    "jupyter_execute",
    "**.ipynb_checkpoints",
]
templates_path = ["templates"]

html_theme = "pydata_sphinx_theme"
html_title = "sparsefit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"show_prev_next": True, "navigation_with_keys": False}
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
# These two pages are no part of a section: a side bar would stand empty.
html_sidebars: dict[str, list[str]] = {"index": [], "gallery": []}

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Only pages with {code-cell} blocks are notebooks.
nb_execution_mode = "auto"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# Warnings name files of the machine that builds the site.
nb_output_stderr = "remove"

autosummary_generate = True
# Pages of the API are titled by the name that users write: sf.Fit.
autosummary_context = {"public_names": reference_pages.public_names()}
# Methods are documented on the page of their class, see templates/autosummary/class.rst.
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# The types of arguments are in the docstrings, in words.
autodoc_typehints = "none"

# Every reference in a docstring has to lead somewhere in this site.
nitpicky = True

suppress_warnings = ["mystnb.unknown_mime_type"]

reference_pages.write_generated()

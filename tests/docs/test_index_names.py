"""The tables of the API page show names that users can write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CONF = """
import sys
sys.path.insert(0, {docs!r})
import reference_pages
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "index_names"]
autosummary_context = {{"public_names": reference_pages.public_names()}}
autosummary_generate = False
"""
PAGE = """
API
===

.. currentmodule:: sparsefit

.. autosummary::

   results.fit.Fit
   bayes.Priors
   errors.FitError
   reporting.save_figures
"""


def test_tables_show_the_names_that_users_write(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs the extra docs")
    (tmp_path / "conf.py").write_text(CONF.format(docs=str(root / "docs")), encoding="utf-8")
    (tmp_path / "index.rst").write_text(PAGE, encoding="utf-8")
    words = ["-m", "sphinx", "-q", "-W", "-b", "pseudoxml", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-P", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "out" / "index.pseudoxml").read_text(encoding="utf-8")
    assert re.findall(r"<literal .*>\s+([\w.]+)\n", shown) == [
        "sf.Fit",
        "sf.bayes.Priors",
        "sf.errors.FitError",
        "sparsefit.reporting.save_figures",
    ]

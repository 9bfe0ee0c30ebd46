"""The build backend: setuptools, with its work folder and metadata outside the source tree.

Plain setuptools leaves ``build/`` and ``*.egg-info`` beside ``pyproject.toml``, and a module that
was renamed or deleted lives on in ``build/`` and in every wheel made from there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setuptools import build_meta

_VARIABLE = "DIST_EXTRA_CONFIG"  # a further setup.cfg, read by setuptools


@contextmanager
def _outside() -> Iterator[None]:
    before = os.environ.get(_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="sparsefit-build-") as folder:
        config = Path(folder, "setup.cfg")
        text = Path(before).read_text(encoding="utf-8") if before else ""
        text += f"\n[build]\nbuild_base = {folder}/build\n[egg_info]\negg_base = {folder}\n"
        config.write_text(text, encoding="utf-8")
        os.environ[_VARIABLE] = str(config)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before


def _hook(name: str) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        with _outside():
            return getattr(build_meta, name)(*arguments, **options)

    run.__name__ = name
    return run


# The hooks of PEP 517 and PEP 660; the requirements are asked for with the metadata built too.
get_requires_for_build_wheel = _hook("get_requires_for_build_wheel")
get_requires_for_build_sdist = _hook("get_requires_for_build_sdist")
get_requires_for_build_editable = _hook("get_requires_for_build_editable")
build_wheel = _hook("build_wheel")
build_sdist = _hook("build_sdist")
build_editable = _hook("build_editable")

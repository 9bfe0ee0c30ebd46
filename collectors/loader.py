"""Models that a user's own function loads: for checkpoints that transformers cannot read."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import nn

from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.errors import ArgumentError, CheckpointError, SparsefitError, first_line, quoted

Loader = Callable[[Checkpoint], nn.Module]
"""Builds a checkpoint's model: a module that maps token ids, (windows, length), to logits."""


def find_loader(loader: str | Loader) -> Loader:
    """Return a loader, imported where it is given by its place.

    Parameters
    ----------
    loader : callable or str
        The function, or ``package.module:function`` or ``path/to/file.py:function``. Modules are
        found from the working directory too.

    Raises
    ------
    ArgumentError
        There is no such file, module or function, or the code fails when it is imported.
    """
    if not isinstance(loader, str):
        if not callable(loader):
            raise ArgumentError(
                f"loader must be a function, or package.module:function, got {quoted(loader)}"
            )
        return loader
    place, _, name = loader.rpartition(":")
    if not place or not name:
        raise ArgumentError(
            f"loader={quoted(loader)} must be package.module:function or path/to/file.py:function"
        )
    found: Any = _imported(place)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ArgumentError(f"loader={quoted(loader)}: {place} has no function {name}")
    return cast("Loader", found)


def label_of(loader: str | Loader) -> str:
    """Return what names a loader in the record of a measurement."""
    if isinstance(loader, str):
        return loader
    name = getattr(loader, "__qualname__", type(loader).__qualname__)
    return f"{getattr(loader, '__module__', '')}:{name}"


def load_with(loader: Loader, label: str, checkpoint: Checkpoint) -> nn.Module:
    """Call a loader.

    Parameters
    ----------
    loader, label
        The function, and its name in messages.
    checkpoint : Checkpoint
        What it is to load.

    Raises
    ------
    CheckpointError
        It fails on this checkpoint.
    ArgumentError
        It returns something else than a module.
    """
    try:
        model = loader(checkpoint)
    except SparsefitError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint.name}: the loader {label} failed ({first_line(error)})"
        ) from error
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"the loader {label} returned {type(model).__name__}: it must return the model (a "
            "torch.nn.Module) with its weights"
        )
    return model


def _imported(place: str) -> Any:
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise ArgumentError(f"{place}: no such file, to load models with")
            # As for a script, modules beside it can be imported.
            _on_path(path.resolve().parent)
            spec = importlib.util.spec_from_file_location(f"_loader_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            # What it defines is looked up there, by dataclasses for one.
            sys.modules[module.__name__] = module
            spec.loader.exec_module(module)
            return module
        _on_path(Path.cwd())
        return importlib.import_module(place)
    except ArgumentError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{place} cannot be imported, to load models with ({type(error).__name__}: {error})"
        ) from error


def _on_path(folder: Path) -> None:
    """Let modules of a folder be imported; for a command only the folder of its script is."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

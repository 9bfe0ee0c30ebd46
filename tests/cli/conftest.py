from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.cli import main


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Folder with `two.csv` (two simulated runs), `short.csv` (one good run, one too short)."""
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(2)
    d = np.geomspace(0.5, 40.0, 20)
    falling = pd.DataFrame(
        {
            "run": "falling_sim",
            "tokens": d * 1e9,
            "activation_ratio": 0.07 + 0.06 * np.exp(-0.3 * d**0.7) + rng.normal(0, 2e-4, d.size),
            "activation": "relu",
        }
    )
    rising = falling.assign(
        run="rising_sim",
        activation="silu",
        activation_ratio=0.39 - 0.1 * d**-0.6 + rng.normal(0, 1e-3, d.size),
    )
    sf.write_table(pd.concat([falling, rising], ignore_index=True), path / "two.csv")
    short = falling.iloc[:4].assign(run="short_sim")
    pd.concat([falling, short]).to_csv(path / "short.csv", index=False)
    falling.drop(columns="run").to_csv(path / "unnamed.csv", index=False)
    falling.assign(activation_ratio=lambda t: 100 * t["activation_ratio"]).to_csv(
        path / "percent.csv", index=False
    )
    return path


@pytest.fixture(scope="session")
def family_csv(tmp_path_factory):
    """File with two finished runs and a larger one that has only begun, all on one trend."""
    rng, d = np.random.default_rng(3), np.linspace(1.0, 60.0, 24)
    runs = []
    for at, name in enumerate(("small_sim", "middle_sim", "large_sim")):
        curve = 0.06 + 0.002 * at + (0.05 + 0.004 * at) * np.exp(-0.35 * (d**0.5 - 1.0))
        runs.append(
            pd.DataFrame(
                {
                    "run": name,
                    "tokens": d * 1e9,
                    "activation_ratio": curve + rng.normal(0, 2e-4, d.size),
                    "activation": "relu",
                    "n_params": 1e8 * 3**at,
                }
            )
        )
    runs[-1] = runs[-1].head(8)
    path = tmp_path_factory.mktemp("family") / "family.csv"
    sf.write_table(pd.concat(runs, ignore_index=True), path)
    return path


@pytest.fixture
def command(capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        out = capsys.readouterr()
        return status, out.out, out.err

    return call


def strict_json(text):
    """Parse JSON that may hold neither NaN nor Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def document(command):
    """Run a command with --json: exit status and the one document that it prints."""

    def call(*words):
        status, out, _ = command(*words, "--json")
        return status, strict_json(out)

    return call

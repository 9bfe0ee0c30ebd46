"""Time of ``sparsefit forecast`` over that of importing what any such tool must import.

The allowance is twice ``python -c "import pandas, scipy.optimize, lmfit"`` plus 0.3 s a series;
both are measured in one go, in turn, in fresh processes, and the minimum of each counts. The tables
are those given, or one simulated here with seven runs.

    python benchmarks/cli_forecast.py [FILE...] --repeats 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import pandas, scipy.optimize, lmfit"
PER_SERIES = 0.3


def simulated(folder: Path, runs: int = 7, points: int = 40) -> Path:
    """Write a table of simulated runs."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    d = np.linspace(3.6, 145.0, points)
    frames = []
    for k in range(runs):
        if k % 2:
            values = 0.39 - 0.2 * d ** -(0.5 + 0.05 * k) + rng.normal(0, 8e-4, points)
        else:
            values = 0.065 + np.exp(-3.3 - 0.1 * d ** (0.4 + 0.05 * k))
            values = values + rng.normal(0, 3e-4, points)
        frames.append(
            pd.DataFrame(
                {
                    "run": f"simulated_{k}",
                    "tokens": d * 1e9,
                    "activation_ratio": values,
                    "activation": "silu" if k % 2 else "relu",
                }
            )
        )
    path = folder / "simulated.csv"
    pd.concat(frames).to_csv(path, index=False)
    return path


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files or [str(simulated(Path(folder)))]
        forecast = [
            *(sys.executable, "-m", "sparsefit", "forecast", *files),
            *("--at", "2e12", "--target-sparsity", "0.93", "--json"),
        ]
        imports = [sys.executable, "-c", IMPORTS]
        answer = subprocess.run(forecast, check=True, capture_output=True, text=True).stdout
        series = len(json.loads(answer)["runs"])
        taken: dict[str, list[float]] = {"imports": [], "forecast": []}
        for _ in range(arguments.repeats):
            taken["imports"].append(seconds(imports))
            taken["forecast"].append(seconds(forecast))
    base, command = min(taken["imports"]), min(taken["forecast"])
    allowed = 2.0 * base + PER_SERIES * series
    print(
        json.dumps(
            {
                "series": series,
                "imports_seconds": round(base, 3),
                "forecast_seconds": round(command, 3),
                "allowed_seconds": round(allowed, 3),
                "ratio_to_allowed": round(command / allowed, 3),
                "met": command < allowed,
            }
        )
    )
    return 0 if command < allowed else 1


if __name__ == "__main__":
    raise SystemExit(main())

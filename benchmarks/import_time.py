"""Time of ``import sparsefit`` over that of ``import numpy``, each in a fresh process.

Runs of both alternate, so that a busy moment of the machine hits both; the minimum of each counts.
Goal: a ratio below 1.5.

    python benchmarks/import_time.py --repeats 10
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

GOAL = 1.5


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    taken: dict[str, list[float]] = {"import numpy": [], "import sparsefit": []}
    for statement in taken:
        seconds(statement)  # fill the disk cache
    for _ in range(repeats):
        for statement, times in taken.items():
            times.append(seconds(statement))
    numpy, sparsefit = (min(times) for times in taken.values())
    ratio = sparsefit / numpy
    print(
        json.dumps(
            {
                "import_numpy_seconds": round(numpy, 4),
                "import_sparsefit_seconds": round(sparsefit, 4),
                "ratio": round(ratio, 3),
                "goal": GOAL,
                "met": ratio < GOAL,
            }
        )
    )
    return 0 if ratio < GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Draw the figures of README, docs and gallery: each script of docs/gallery leaves one in `figure`.

python docs/make_figures.py                  # all, into docs/images
python docs/make_figures.py forecast runs    # these
python docs/make_figures.py --out FOLDER     # elsewhere
"""

from __future__ import annotations

import argparse
import os
import runpy
from pathlib import Path

DOCS = Path(__file__).parent
SCRIPTS = {path.stem: path for path in sorted((DOCS / "gallery").glob("*.py"))}


def draw(name: str, folder: Path) -> Path:
    """Run a script of the gallery and save its figure."""
    import matplotlib.pyplot as plt

    figure = runpy.run_path(str(SCRIPTS[name]))["figure"]
    path = folder / f"{name}.png"
    # Without the version of matplotlib the same figure gives the same file.
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}")
    parser.add_argument("--out", type=Path, default=DOCS / "images", metavar="FOLDER")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(SCRIPTS))
    if unknown:
        parser.error(f"no script {', '.join(unknown)} in docs/gallery")
    os.environ["MPLBACKEND"] = "Agg"
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or SCRIPTS:
        print(draw(name, arguments.out), flush=True)


if __name__ == "__main__":
    main()

"""Run `python -m sparsefit`."""

import sys

from sparsefit.cli import main

if __name__ == "__main__":
    sys.exit(main())

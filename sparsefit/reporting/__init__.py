"""Reports: a self-contained HTML page, and figures as files."""

from sparsefit.reporting.api import report
from sparsefit.reporting.figures import WIDTHS_MM, save_figures

__all__ = ["WIDTHS_MM", "report", "save_figures"]

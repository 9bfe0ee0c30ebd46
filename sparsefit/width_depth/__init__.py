"""The width-depth law and its breakpoint.

At a fixed parameter scale the limit activation ratio rises linearly with the width-depth ratio up
to a break and is level after it. `fit_width_depth` turns points (ratio, limit) into that law, says
whether a break can be placed at all, and gives advice once loss points are there.
"""

from sparsefit.width_depth.checkpoints import last_losses
from sparsefit.width_depth.fit import fit_segmented, fit_width_depth
from sparsefit.width_depth.intervals import BreakTest, Interval, Placement
from sparsefit.width_depth.points import Points, read_points
from sparsefit.width_depth.posterior import fit_width_depth_bayes
from sparsefit.width_depth.posterior_result import PosteriorBreakTest, PosteriorFit
from sparsefit.width_depth.result import BreakpointFit

__all__ = [
    "BreakTest",
    "BreakpointFit",
    "Interval",
    "Placement",
    "Points",
    "PosteriorBreakTest",
    "PosteriorFit",
    "fit_segmented",
    "fit_width_depth",
    "fit_width_depth_bayes",
    "last_losses",
    "read_points",
]

"""The width-depth law and its breakpoint."""

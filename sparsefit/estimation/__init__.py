"""Estimation of the laws from points."""

"""Bayesian fits of the laws."""

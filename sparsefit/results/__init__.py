"""Frozen results of fits and their verbs."""

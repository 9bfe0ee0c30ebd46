"""Figures of results, drawn on the axes given."""

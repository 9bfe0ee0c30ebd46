"""Self-contained reports."""

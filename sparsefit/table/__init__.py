"""Read, write and check measurement tables."""

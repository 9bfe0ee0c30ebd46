"""Data files that ship with sparsefit; read them through `sparsefit.datasets`."""

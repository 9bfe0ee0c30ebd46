"""Torch collectors: measure activation sparsity of checkpoints."""

"""The laws of activation sparsity as frozen objects (numpy only)."""

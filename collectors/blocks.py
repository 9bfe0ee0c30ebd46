"""Blocks of tokens and the buffers that they go through.

Elementwise work on hidden states is bound by memory: in blocks that stay in the processor's cache,
and in buffers that all layers share, it costs a fraction and nothing large is ever allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

ROWS = 256
"""Tokens per block: 256 x 1536 float32 values are 1.5 MB."""
# Bytes from which a freed block is worth a call to the system.
_LARGE = 1 << 20


class Buffers:
    """Scratch tensors by name, kept between calls; only without gradients."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], torch.Tensor] = {}

    def take(
        self,
        name: str,
        rows: int,
        width: int,
        like: torch.Tensor,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """Return a tensor of shape (rows, width) with the device and, by default, dtype of `like`.

        What it holds is left over from before; the next call with the same name, width and dtype
        overwrites it.
        """
        dtype = like.dtype if dtype is None else dtype
        key = (name, width, dtype, like.device)
        kept = self._kept.get(key)
        if kept is None or kept.shape[0] < rows:
            kept = torch.empty((rows, width), dtype=dtype, device=like.device)
            self._kept[key] = kept
        return kept[:rows]


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return the function of glibc that gives freed memory back; None with other C libraries."""
    import ctypes

    try:
        found: Any = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found  # type: ignore[no-any-return]


def release_gaps(block: torch.Tensor) -> None:
    """Give freed memory back to the system, where a layer's blocks are large.

    A hook's small tensors land in the gaps that the model's large ones leave, which then no longer
    fit: without this, the heap grows by several blocks per layer, a fifth of a small model's peak.
    """
    if block.device.type != "cpu" or block.numel() * block.element_size() < _LARGE:
        return
    trim = _malloc_trim()
    if trim is not None:
        trim(0)

"""Blocks of tokens and the buffers that they go through.

Elementwise work on hidden states is bound by memory: in blocks that stay in the processor's cache,
and in buffers that all layers share, it costs a fraction and nothing large is ever allocated.
"""

from __future__ import annotations

import torch

ROWS = 256
"""Tokens per block: 256 x 1536 float32 values are 1.5 MB."""


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

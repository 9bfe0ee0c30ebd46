"""What a token loses when its weak neurons are skipped: the norms inside CETT (Eq. 3).

This is where a calibration spends its time and would spend its memory: one product with the output
projection for each threshold. Tokens go through in blocks that stay in the processor's cache, in
buffers that all layers share, so that nothing large is ever allocated.
"""

from __future__ import annotations

import torch

# Tokens per block: 256 x 1536 float32 values are 1.5 MB.
_ROWS = 256


class SkippedNorms:
    """Norms of the skipped part of a feed-forward output, token by token."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], torch.Tensor] = {}

    def __call__(
        self, hidden: torch.Tensor, weight: torch.Tensor, limit: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """Skip every neuron with ``|h_i|`` under its limit.

        Parameters
        ----------
        hidden : torch.Tensor
            Inputs of the output projection, shape (tokens, d_ff).
        weight : torch.Tensor
            ``W_out``, shape (d_model, d_ff).
        limit : torch.Tensor
            Limit of each neuron, ``eps / ||W_out[:, i]||``, shape (d_ff,), dtype of `hidden`.

        Returns
        -------
        norms : torch.Tensor
            ``||sum of the skipped n_i||`` of each token, float32, shape (tokens,).
        skipped : int
            Number of skipped neurons, over all tokens.
        """
        tokens, width = hidden.shape
        norms = torch.empty(tokens, dtype=torch.float32, device=hidden.device)
        skipped = 0
        for at in range(0, tokens, _ROWS):
            block = hidden[at : at + _ROWS]
            rows = block.shape[0]
            weak = self._buffer("weak", rows, width, hidden)
            mask = self._buffer("mask", rows, width, hidden, torch.bool)
            lost = self._buffer("lost", rows, weight.shape[0], hidden)
            torch.abs(block, out=weak)
            torch.lt(weak, limit, out=mask)
            # Four times faster than where() or masked_fill() on a processor.
            torch.mul(block, mask, out=weak)
            torch.mm(weak, weight.t(), out=lost)
            norms[at : at + rows] = torch.linalg.vector_norm(lost, dim=-1, dtype=torch.float32)
            skipped += int(mask.count_nonzero())
        return norms, skipped

    def _buffer(
        self,
        name: str,
        rows: int,
        width: int,
        like: torch.Tensor,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        dtype = like.dtype if dtype is None else dtype
        key = (name, width, dtype, like.device)
        if key not in self._buffers:
            self._buffers[key] = torch.empty((_ROWS, width), dtype=dtype, device=like.device)
        return self._buffers[key][:rows]

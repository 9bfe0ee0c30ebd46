"""What a token loses when its weak neurons are skipped: the norms inside CETT (Eq. 3).

This is where a calibration spends its time and would spend its memory: one product with the output
projection for each threshold.
"""

from __future__ import annotations

import torch

from sparsefit.collectors.blocks import ROWS, Buffers


class SkippedNorms:
    """Norms of the skipped part of a feed-forward output, token by token."""

    def __init__(self) -> None:
        self._buffers = Buffers()

    def __call__(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        limit: torch.Tensor,
        scale: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Skip every neuron with ``|h_i|`` under its limit.

        Parameters
        ----------
        hidden : torch.Tensor
            Inputs of the output projection, shape (tokens, d_ff).
        weight : torch.Tensor
            ``W_out``, shape (d_model, d_ff).
        limit : torch.Tensor
            Limit of each neuron, ``eps / ||W_out[:, i]||``, float32, shape (d_ff,).
        scale : torch.Tensor, optional
            By what each token's limits are multiplied, float32, shape (tokens,).

        Returns
        -------
        norms : torch.Tensor
            ``||sum of the skipped n_i||`` of each token, float32, shape (tokens,).
        skipped : torch.Tensor
            Number of skipped neurons, over all tokens, scalar; left on the device, since reading it
            makes the processor wait.
        """
        tokens, width = hidden.shape
        exact = torch.promote_types(hidden.dtype, torch.float32)
        norms = torch.empty(tokens, dtype=torch.float32, device=hidden.device)
        skipped = torch.zeros((), dtype=torch.int64, device=hidden.device)
        for at in range(0, tokens, ROWS):
            block = hidden[at : at + ROWS]
            rows = block.shape[0]
            weak = self._buffers.take("weak", rows, width, hidden)
            mask = self._buffers.take("mask", rows, width, hidden, torch.bool)
            lost = self._buffers.take("lost", rows, weight.shape[0], hidden)
            torch.abs(block, out=weak)
            limits = limit
            if scale is not None:
                limits = self._buffers.take("limits", rows, width, limit)
                torch.mul(scale[at : at + rows, None], limit, out=limits)
            torch.lt(weak, limits, out=mask)
            # Four times faster than where() or masked_fill() on a processor.
            torch.mul(block, mask, out=weak)
            torch.mm(weak, weight.t(), out=lost)
            norms[at : at + rows] = torch.linalg.vector_norm(lost, dim=-1, dtype=exact)
            skipped += mask.count_nonzero()
        return norms, skipped

"""What a hook on an output projection sees, at the positions that count."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sparsefit.collectors.forward import Batch, flatten
from sparsefit.collectors.sites import Site
from sparsefit.errors import ModelError


@dataclass(frozen=True, eq=False)
class CountedStates:
    """Hidden states of one layer in one batch.

    Attributes
    ----------
    hidden : torch.Tensor
        Inputs of the output projection at counted positions, shape (tokens, d_ff).
    total : torch.Tensor
        Norms ``||FFN(x)||`` of the outputs there, without bias, float32, shape (tokens,).
    positions : torch.Tensor or None
        Their places among all positions of the batch; None where all are counted.
    """

    hidden: torch.Tensor
    total: torch.Tensor
    positions: torch.Tensor | None

    @classmethod
    def of(
        cls, site: Site, batch: Batch, given: torch.Tensor, output: torch.Tensor
    ) -> CountedStates:
        """Take a forward hook's input and output.

        Raises
        ------
        ModelError
            The module does not see one state for each position of the batch.
        """
        hidden, out = flatten(given), flatten(output)
        if hidden.shape[0] != batch.counted.shape[0]:
            raise ModelError(
                f"{site.name} saw {hidden.shape[0]} positions of {batch.counted.shape[0]}: "
                "the model drops or packs positions, so they cannot be told apart"
            )
        bias = site.bias
        total = torch.linalg.vector_norm((out if bias is None else out - bias).float(), dim=-1)
        if batch.complete:
            return cls(hidden, total, None)
        positions = torch.nonzero(batch.counted).squeeze(1)
        return cls(hidden[positions], total[positions], positions)

"""What a hook on an output projection sees, at the positions that count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparsefit.collectors.forward import Batch, Losses, flatten, forward_losses
from sparsefit.collectors.sites import Site
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ModelError

# Relative error, far above rounding; quantised weights and adapters exceed it.
_ROUNDING = {torch.float32: 0.01}
_COARSE_ROUNDING = 0.05
_CHECKED = 4


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
    def of(cls, site: Site, batch: Batch, given: torch.Tensor, output: Any) -> CountedStates:
        """Take a forward hook's input and output.

        Raises
        ------
        ModelError
            The module does not see one state for each position of the batch, or computes something
            else than a product with its weight.
        """
        out, bias = returned(site, output)
        # Accelerate brings a module's input to it behind the back of hooks.
        hidden = flatten(given).to(out.device)
        if hidden.shape[0] != batch.counted.shape[0]:
            raise ModelError(
                f"{site.name} saw {hidden.shape[0]} positions of {batch.counted.shape[0]}: "
                "the model drops or packs positions, so they cannot be told apart"
            )
        check_product(site, hidden, out, bias)
        whole = out if bias is None else out - bias.to(out.device)
        total = torch.linalg.vector_norm(whole.float(), dim=-1)
        if batch.complete:
            return cls(hidden, total, None)
        positions = torch.nonzero(batch.counted_on(hidden.device)).squeeze(1)
        return cls(hidden[positions], total[positions], positions)


Observer = Callable[[Batch, CountedStates], None]


def observe_states(
    model: nn.Module,
    text: EvaluationText,
    observers: Sequence[tuple[Site, Observer]],
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> Losses:
    """Run the dense model over a text and show each site's states to its observer, batch by batch.

    Parameters
    ----------
    model, text
        Dense model and evaluation text.
    observers : sequence of (Site, callable)
        Called as ``observer(batch, states)``.
    batch_size : int
        Windows per batch.
    advance : callable, optional
        Progress callback (tokens done).

    Returns
    -------
    Losses

    Raises
    ------
    ModelError
        See `CountedStates.of`.
    """
    current: list[Batch] = []

    def on_batch(batch: Batch) -> None:
        current[:] = [batch]

    def hook_of(site: Site, observer: Observer) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: Any) -> None:
            batch = current[0]
            observer(batch, CountedStates.of(site, batch, args[0], output))

        return hook

    handles = [
        site.projection.register_forward_hook(hook_of(site, observer))
        for site, observer in observers
    ]
    try:
        return forward_losses(model, text, batch_size, on_batch, advance)
    finally:
        for handle in handles:
            handle.remove()


def returned(site: Site, output: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Take what an output projection returns.

    Parameters
    ----------
    site : Site
        The site.
    output : tensor or tuple
        What a forward hook on it sees. Parallel layers of Megatron return a tuple: the product, and
        the bias where it is yet to be added.

    Returns
    -------
    torch.Tensor, torch.Tensor or None
        The product, shape (positions, d_model), and the bias that it holds.
    """
    if isinstance(output, tuple):
        product, beside = output
        return flatten(product), site.bias if beside is None else None
    return flatten(output), site.bias


def check_product(
    site: Site, hidden: torch.Tensor, out: torch.Tensor, bias: torch.Tensor | None
) -> None:
    """Raise ModelError where ``W_out h`` is not what the module returns, on a few positions.

    Parameters
    ----------
    site, hidden
        The site, and its input, shape (positions, d_ff).
    out, bias
        See `returned`.
    """
    some = slice(None, None, max(1, hidden.shape[0] // _CHECKED))
    weight = site.weight
    expected = hidden[some].to(out.device) @ weight.to(out.device).t()
    if bias is not None:
        expected = expected + bias.to(out.device)
    error = torch.linalg.vector_norm((out[some] - expected).float())
    size = torch.linalg.vector_norm(expected.float())
    if error > _ROUNDING.get(out.dtype, _COARSE_ROUNDING) * size:
        raise ModelError(
            f"{site.name} ({type(site.projection).__name__}) returns something other than its "
            "weight times its input: quantised on the fly, or with an adapter? Load the model "
            "unquantised, and merge adapters"
        )

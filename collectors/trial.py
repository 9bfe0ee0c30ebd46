"""A trial on a few tokens, before anything is measured: what a configuration cannot tell.

A measurement rests on each site being used once for every token, on the output projection being a
plain product, and on no token seeing those that it is to predict. Whether a model keeps to that
shows when it runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sparsefit.collectors.counted import check_product, returned
from sparsefit.collectors.evaluating import evaluating
from sparsefit.collectors.forward import flatten, tried_logits
from sparsefit.collectors.functional import ActivationOutputs
from sparsefit.collectors.refusals import candidates, not_found
from sparsefit.collectors.sites import Site, called_often, not_called, output_names
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.unnamed import TokenByToken, network_of
from sparsefit.collectors.weights import computing_device
from sparsefit.errors import ModelError

_TOKENS = 16
# Share of the largest logit that rounding may move. Both passes have one shape: on a processor,
# earlier positions of a causal model agree to the last bit.
_ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
_COARSE_ROUNDING = 1e-2


@torch.inference_mode()
def try_model(model: nn.Module, sites: Sequence[Site], text: EvaluationText) -> tuple[Site, ...]:
    """Run a model on the first tokens of a text, twice, with different later tokens.

    Returns
    -------
    tuple of Site
        The sites; those without a module for their activation with the name of the function.

    Raises
    ------
    ModelError
        The model does not run on token ids alone, sees later tokens, or uses a site never, more
        than once, not for every position, or otherwise than as a product with its weight.
    """
    device = computing_device(model)
    tokens = torch.from_numpy(text.tokens[:1, :_TOKENS]).to(device)
    half = max(1, tokens.shape[1] // 2)
    with evaluating(model, device):
        logits, sites = _run(model, sites, tokens)
        if half < tokens.shape[1]:
            other, _ = _run(model, sites, _altered(tokens, half))
            _check_causal(model, logits[:, :half], other)
    if sites[0].by == "shape":
        warnings.warn(
            f"{type(model).__name__}: {sites[0].name} and its like in the other layers are taken "
            "for the feed-forward output projections. No name says so: they map a greater width to "
            "the model's, and treat tokens one by one. Choose others with a pattern (--sites)",
            UserWarning,
            stacklevel=2,
        )
    return sites


def _run(
    model: nn.Module, sites: Sequence[Site], tokens: torch.Tensor
) -> tuple[torch.Tensor, tuple[Site, ...]]:
    """Return the logits, (1, length, vocabulary), and the sites, which are checked on the way."""
    calls = [0] * len(sites)
    functions: dict[int, str | None] = {}
    activations = ActivationOutputs()

    def watcher(site: Site) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: Any) -> None:
            calls[site.layer] += 1
            _check_site(site, tokens.numel(), args[0], output)
            functions[site.layer] = (activations.find(site, flatten(args[0])) or (None,))[0]

        return hook

    kind = type(model).__name__
    tried = {
        name: TokenByToken(network_of(model, name), model.get_submodule(name))
        for name in _by_shape(model, sites)
    }
    with ExitStack() as stack:
        activations.watch(sites, stack)
        for site in sites:
            stack.callback(site.projection.register_forward_hook(watcher(site)).remove)
        for network in tried.values():
            network.watch(stack)
        for name in _others(model, sites):
            refuse = _refuser(kind, name, sites)
            stack.callback(model.get_submodule(name).register_forward_pre_hook(refuse).remove)
        logits = tried_logits(model, tokens)
    for site in sites:
        if calls[site.layer] == 0:
            raise not_called(site)
        if calls[site.layer] > 1:
            raise called_often(site)
    _check_networks(model, sites, tried, tokens.shape[1])
    if tuple(logits.shape[:2]) != tuple(tokens.shape):
        raise ModelError(
            f"{kind} returns logits of shape {tuple(logits.shape)} for {tokens.shape[1]} tokens: "
            "one prediction for each token is needed. If it returns the last one only, wrap it in "
            "a module whose forward pass returns all"
        )
    return logits, tuple(replace(site, function=functions[site.layer]) for site in sites)


def _check_networks(
    model: nn.Module, sites: Sequence[Site], tried: Mapping[str, TokenByToken], length: int
) -> None:
    """Refuse sites that mix tokens, and networks beside the sites that treat them one by one."""
    known = {site.name for site in sites}
    for name, network in tried.items():
        holds = network.holds(length)
        if name in known and not holds:
            raise not_found(model, None)
        if holds and name not in known and not network.silent:
            raise _several(type(model).__name__, name, sites)


def _by_shape(model: nn.Module, sites: Sequence[Site]) -> list[str]:
    """Names of what only its shape tells: such sites, or what lies beside sites of known names."""
    if sites[0].by == "shape":
        return [site.name for site in sites]
    if sites[0].by == "pattern":
        return []
    known = {site.name for site in sites}
    stems = candidates(model, wide=True).values()
    return [name for names in stems for name in names.values() if name not in known]


def _others(model: nn.Module, sites: Sequence[Site]) -> list[str]:
    """Names of modules that are called like sites found by their names, and are none."""
    if sites[0].by != "name":
        return []
    known = {site.name for site in sites}
    return [name for name in output_names(model) if name not in known]


def _refuser(kind: str, name: str, sites: Sequence[Site]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any) -> None:
        raise _several(kind, name, sites)

    return hook


def _several(kind: str, name: str, sites: Sequence[Site]) -> ModelError:
    return ModelError(
        f"{kind} has several candidates for the feed-forward output projection, and text runs "
        f"through more than one: {name} beside {sites[0].name}. Choose one with a pattern (--sites)"
    )


def _check_site(site: Site, positions: int, given: torch.Tensor, output: Any) -> None:
    if given.shape[-1] != site.d_ff or given.numel() != positions * site.d_ff:
        raise ModelError(
            f"{site.name} is given states of shape {tuple(given.shape)} for {positions} tokens, "
            f"where its weight asks for {site.d_ff} values a token: it cannot be measured"
        )
    check_product(site, flatten(given), *returned(site, output))


def _altered(tokens: torch.Tensor, half: int) -> torch.Tensor:
    """Other tokens in the second half, all of which occur in the window where it has several."""
    later = tokens[:, half:]
    others = later.roll(1, dims=1)
    if bool((others == later).all()):
        others = torch.full_like(later, int(tokens[0, 0]))
        others = torch.where(others == later, (later - 1).clamp_min(0), others)
    return torch.cat([tokens[:, :half], others], dim=1)


def _check_causal(model: nn.Module, before: torch.Tensor, other: torch.Tensor) -> None:
    change = (before - other[:, : before.shape[1]]).abs().max().float()
    size = before.abs().max().float()
    # Not finite: the loss says so, with what to do.
    if change > _ROUNDING.get(before.dtype, _COARSE_ROUNDING) * size:
        raise ModelError(
            f"{type(model).__name__} sees later tokens: its predictions change with the tokens "
            "that they predict, so its loss means nothing here. Set is_decoder where the "
            "configuration knows it; models that read in both directions are not supported"
        )

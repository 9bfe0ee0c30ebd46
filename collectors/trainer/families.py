"""The reference families: which runs the shipped tables come from, and in what order they train.

All use the whole standard library and a BPE vocabulary of 1,024. Sizes, widths and learning rates
were chosen by short pilots (docs/reference_runs.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sparsefit.collectors.trainer.spec import RunSpec
from sparsefit.errors import ArgumentError, quoted


@dataclass(frozen=True)
class Family:
    """Runs that are measured together and shipped as one table.

    Attributes
    ----------
    name : str
        Name of the family; its table is ``reference_<name>``.
    title : str
        One line for its card.
    runs : tuple of RunSpec
        All runs, in the order in which they should be trained.
    notes : tuple of str
        What a reader of the table has to know about the family.
    """

    name: str
    title: str
    runs: tuple[RunSpec, ...]
    notes: tuple[str, ...]


# (hidden size, layers, heads, tokens): 0.03M to 0.26M parameters with d_ff = 8 hidden sizes.
# Tokens are what was affordable; larger values train finished runs further.
_SCALES = (
    (24, 2, 2, 6_400_000),
    (32, 2, 2, 12_000_000),
    (36, 3, 3, 3_500_000),
    (48, 4, 3, 2_500_000),
)
_SCALE_RATES = {"relu": 5e-4, "silu": 2e-3}
# (layers, hidden size): 11.5 d^2 L is within 5% of one value.
_DEPTHS = ((1, 96), (2, 68), (3, 56), (4, 48), (6, 40), (8, 34), (12, 28), (16, 24), (20, 22))
_DEPTH_PARAMS = 105_000
_DEPTH_TOKENS = 4_000_000


def _millions(n_params: int) -> str:
    return f"{n_params / 1e6:.2f}m"


def scales(seeds: Iterable[int] = (0,)) -> Family:
    """ReLU and SiLU at four parameter scales: low learning rate, wide FFN."""
    runs = []
    for seed in seeds:
        for activation, rate in _SCALE_RATES.items():
            for hidden, layers, heads, tokens in _SCALES:
                spec = RunSpec(
                    name="",
                    activation=activation,
                    hidden_size=hidden,
                    n_layers=layers,
                    d_ff=8 * hidden,
                    n_heads=heads,
                    learning_rate=rate,
                    tokens=tokens,
                    seed=seed,
                )
                name = f"{_millions(spec.n_params)}_{activation}_s{seed}"
                runs.append(replace(spec, name=name))
    return Family(
        "scales",
        "ReLU and SiLU language models of 0.03M to 0.26M parameters, measured by sparsefit",
        tuple(runs),
        (
            "d_ff is 8 hidden sizes; the width-depth ratio is 12, at the second scale 16, because "
            "layer counts are whole numbers.",
        ),
    )


def scales_repeated(seeds: Iterable[int] = (1, 2)) -> Family:
    """Runs of `scales` with other seeds: the spread that chance alone makes."""
    same = scales(seeds)
    return replace(
        same,
        name="scales_repeated",
        title="The runs of reference_scales with other seeds, measured by sparsefit",
    )


def turning(seeds: Iterable[int] = (0,)) -> Family:
    """ReLU with a narrow FFN and a high learning rate: its activation ratio falls, then rises."""
    runs = []
    for seed in seeds:
        spec = RunSpec(
            name="",
            activation="relu",
            hidden_size=32,
            n_layers=2,
            d_ff=80,
            n_heads=2,
            learning_rate=4e-3,
            tokens=3_500_000,
            seed=seed,
            first_checkpoint=50_000,
        )
        runs.append(replace(spec, name=f"turning_{_millions(spec.n_params)}_relu_s{seed}"))
    return Family(
        "turning",
        "A ReLU language model whose activation ratio turns upwards, measured by sparsefit",
        tuple(runs),
        (
            "Kept to show a curve that Eq. 4 cannot describe: it falls and then rises. Its first "
            "checkpoints lie in the warm-up of the learning rate.",
        ),
    )


def width_depth(seeds: Iterable[int] = (0, 1)) -> Family:
    """ReLU over nine layer counts at one parameter count, d_ff about 2.5 hidden sizes."""
    runs = []
    for seed in seeds:
        for layers, hidden in _DEPTHS:
            # The FFN width takes up what whole hidden sizes leave of the parameter count.
            d_ff = round((_DEPTH_PARAMS / layers - 4 * hidden**2) / (3 * hidden))
            spec = RunSpec(
                name=f"depth{layers:02d}_relu_s{seed}",
                activation="relu",
                hidden_size=hidden,
                n_layers=layers,
                d_ff=d_ff,
                n_heads=2 if hidden % 4 == 0 else 1,
                learning_rate=5e-4,
                tokens=_DEPTH_TOKENS,
                seed=seed,
            )
            runs.append(spec)
    return Family(
        "width_depth",
        "ReLU language models of equal size over nine layer counts, measured by sparsefit",
        tuple(runs),
        ("Parameter counts are equal within 5%; d_ff is 2.5 hidden sizes up to rounding.",),
    )


_FAMILIES = {
    "scales": scales,
    "scales_repeated": scales_repeated,
    "turning": turning,
    "width_depth": width_depth,
}
NAMES = tuple(_FAMILIES)


def family(
    name: str,
    seeds: Iterable[int] | None = None,
    max_tokens: int | None = None,
    only: Iterable[str] | None = None,
) -> Family:
    """Look a family up by name.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    seeds : iterable of int, optional
        In place of the family's own.
    max_tokens : int, optional
        End every run at its last checkpoint within these tokens.
    only : iterable of str, optional
        Names of the runs to keep.
    """
    if name not in _FAMILIES:
        raise ArgumentError(f"family={quoted(name)}: choose one of {', '.join(NAMES)}")
    chosen = _FAMILIES[name]() if seeds is None else _FAMILIES[name](tuple(seeds))
    runs = chosen.runs
    if only is not None:
        names = set(only)
        unknown = sorted(names.difference(spec.name for spec in runs))
        if unknown:
            raise ArgumentError(f"{name} has no run {', '.join(unknown)} with these seeds")
        runs = tuple(spec for spec in runs if spec.name in names)
    if max_tokens is not None:
        runs = tuple(replace(spec, tokens=min(spec.tokens, max_tokens)) for spec in runs)
    return replace(chosen, runs=runs)


def queue(
    names: Iterable[str],
    seeds: Iterable[int] | None = None,
    max_tokens: int | None = None,
    only: Iterable[str] | None = None,
) -> list[RunSpec]:
    """Order runs so that the most useful come first.

    All families of one seed come before the next seed, families in the order given, and the
    cheapest runs of a family first.
    """
    chosen = tuple(seeds) if seeds is not None else None
    kept = tuple(only) if only is not None else None
    runs = [
        (
            spec.seed,
            place,
            spec.n_tokens * (spec.n_params + spec.vocab_size * spec.hidden_size),
            spec,
        )
        for place, name in enumerate(names)
        for spec in family(name, chosen, max_tokens, kept).runs
    ]
    return [spec for *_, spec in sorted(runs, key=lambda run: run[:3])]

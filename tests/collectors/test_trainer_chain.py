"""The whole chain on seconds-long runs: train, measure, table, fit, card."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import sparsefit as sf
from sparsefit.collectors.trainer import RunSpec, demo_chain, families
from sparsefit.collectors.trainer.__main__ import main
from sparsefit.collectors.trainer.demo import demo_spec
from sparsefit.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings(
    # The texts here are tiny on purpose.
    "ignore::sparsefit.collectors.run_text.SmallTextWarning"
)

SMALLEST = RunSpec(
    name="smallest",
    activation="relu",
    hidden_size=16,
    n_layers=1,
    d_ff=64,
    n_heads=1,
    learning_rate=2e-3,
    tokens=120_000,
    vocab_size=300,
    sequence_length=64,
    batch_sequences=8,
    warmup_tokens=2_000,
    first_checkpoint=4_000,
    checkpoint_ratio=1.4,
)


def chain(out: Path, spec: RunSpec) -> Path:
    return demo_chain(out, spec=spec, max_bytes=300_000, n_tokens=2_048)


@pytest.fixture(scope="module")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain(tmp_path_factory.mktemp("chain"), SMALLEST)


def test_chain_gives_a_table_that_can_be_fitted(table_file: Path) -> None:
    table = sf.read_table(table_file)
    assert list(table["run"].unique()) == ["smallest"]
    assert len(table) == len(SMALLEST.checkpoint_steps()) >= 10
    assert table["tokens"].tolist() == [512 * step for step in SMALLEST.checkpoint_steps()]
    assert (table["n_params"] == SMALLEST.n_params).all()
    assert table["loss"].iloc[-1] < table["loss"].iloc[0]
    assert table["loss_dense"].iloc[-1] < table["loss_dense"].iloc[0]
    assert (table["se"] > 0).all()
    assert table["cett"].nunique() == 1
    # One CETT for the run: the mean over the last five checkpoints meets the target.
    ratios = table["loss_sparse"] - table["loss_dense"]
    assert np.exp(ratios.iloc[-5:]).mean() == pytest.approx(1.01, abs=2e-3)
    fit = sf.fit(table)
    assert 0 <= fit.limit().estimate < 1
    assert np.isfinite(fit.forecast([1_000_000]).to_numpy(dtype=float)).all()


def test_same_seed_gives_the_identical_table(table_file: Path, tmp_path: Path) -> None:
    again = chain(tmp_path, SMALLEST)
    assert again.read_bytes() == table_file.read_bytes()


def test_calling_again_changes_nothing(table_file: Path) -> None:
    before = table_file.read_bytes()
    assert chain(table_file.parent, SMALLEST).read_bytes() == before


def test_other_seed_gives_another_curve_of_the_same_kind(table_file: Path, tmp_path: Path) -> None:
    first = sf.read_table(table_file)["activation_ratio"]
    other = sf.read_table(chain(tmp_path, replace(SMALLEST, seed=1)))["activation_ratio"]
    assert not np.allclose(first, other, atol=1e-6)
    assert np.abs(first - other).max() < 0.2


def test_demonstration_run_is_small_and_has_enough_checkpoints() -> None:
    spec = demo_spec(seed=3)
    assert spec.seed == 3
    assert spec.activation == "relu"
    assert len(spec.checkpoint_steps()) >= 12
    assert spec.n_tokens * spec.n_params < 1e11


@pytest.fixture
def tiny_family(monkeypatch: pytest.MonkeyPatch) -> families.Family:
    def build(seeds: tuple[int, ...] = (0, 1)) -> families.Family:
        base = replace(SMALLEST, vocab_size=1024, tokens=20_000)
        runs = [
            replace(base, name=f"tiny_{activation}_s{seed}", activation=activation, seed=seed)
            for seed in seeds
            for activation in ("relu", "silu")
        ]
        return families.Family("tiny", "Tiny runs", tuple(runs), ("For tests.",))

    monkeypatch.setitem(families._FAMILIES, "tiny", build)
    monkeypatch.setattr(families, "NAMES", (*families.NAMES, "tiny"))
    return build()


@pytest.fixture
def small_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsefit.collectors.trainer import corpus, tables

    build = partial(corpus.build_corpus, max_bytes=400_000)
    monkeypatch.setattr(corpus, "build_corpus", build)
    monkeypatch.setattr(tables, "build_corpus", build)
    monkeypatch.setattr(tables, "N_TOKENS", 2_048)


def test_reproduce_writes_tables_and_cards(
    tiny_family: families.Family,
    small_corpus: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["reproduce", "tiny", "--seeds", "0", "--max-tokens", "16000"]
    command += ["--out", str(tmp_path / "runs")]
    assert main([*command, "--tables", str(tmp_path / "data")]) == 0
    assert "tiny_silu_s0" in capsys.readouterr().err
    data = tmp_path / "data"
    card = json.loads((data / "reference_tiny.card.json").read_text())
    table = sf.read_table(data / "reference_tiny.csv", min_points=0)
    assert card["rows"] == len(table)
    assert table["tokens"].max() <= 16_000
    assert card["kind"] == "measured"
    assert card["seeds"] == [0]
    assert [run["run"] for run in card["runs"]] == ["tiny_relu_s0", "tiny_silu_s0"]
    assert "reproduce tiny --seeds 0 --max-tokens 16000 " in card["command"]
    assert str(tmp_path) not in (data / "reference_tiny.card.json").read_text()

    metrics = pd.read_csv(data / "reference_tiny_metrics.csv")
    metrics_card = json.loads((data / "reference_tiny_metrics.card.json").read_text())
    assert list(metrics) == list(metrics_card["columns"])
    assert metrics_card["rows"] == len(metrics)
    relu = metrics[metrics["run"] == "tiny_relu_s0"].set_index("metric")
    assert relu.loc["relu_zero", "ppl_ratio"] == pytest.approx(1.0, abs=1e-6)
    assert "relu_zero" not in set(metrics.loc[metrics["run"] == "tiny_silu_s0", "metric"])

    first = {path.name: path.read_bytes() for path in data.iterdir()}
    assert main(["measure", *command[1:], "--tables", str(data)]) == 0
    tables_again = {path.name: path.read_bytes() for path in data.iterdir()}
    assert tables_again == first


def test_unfinished_run_is_not_shipped(
    tiny_family: families.Family, small_corpus: None, tmp_path: Path
) -> None:
    from sparsefit.collectors.trainer import tables

    with pytest.raises(CheckpointError, match=r"tiny_relu_s0: .* missing"):
        tables.write_family(tiny_family, tmp_path / "runs", tmp_path / "data")


def test_list_names_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "scales", "scales_repeated", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 24
    assert {row["activation"] for row in rows} == {"relu", "silu"}
    assert main(["list", "turning", "--seeds", "5"]) == 0
    assert "seed" not in capsys.readouterr().err

"""The command: text to table, JSON, exit status."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.cli import main


@pytest.fixture
def words(trained_run, markov, tmp_path):
    for step in (180, 200):
        shutil.copytree(trained_run / f"checkpoint-{step}", tmp_path / "r" / f"checkpoint-{step}")
    np.save(tmp_path / "t.npy", markov(512, seed=4))
    source = ["--text", str(tmp_path / "t.npy"), "--seq-len", "32", "--n-tokens", "512", "--quiet"]
    return ["measure", str(tmp_path / "r"), *source, "-o", str(tmp_path / "points.parquet")]


def test_run_to_table(words, tmp_path, capsys) -> None:
    assert main([*words, "-p", "1"]) == 0
    output = capsys.readouterr()
    assert "converged" in output.out
    assert "16384 are wanted" in output.err
    table = sf.read_table(tmp_path / "points.parquet", min_points=1)
    assert len(table) == 2
    assert table["run"].unique().tolist() == ["r"]
    provenance = table.attrs["provenance"]
    assert provenance["settings"]["p_percent"] == 1.0
    assert provenance["solutions"]["run"]["status"] == "converged"
    assert (tmp_path / "points.layers.parquet").is_file()
    assert not (tmp_path / "points.parquet.parts").exists()


def test_a_file_of_somebody_else_among_the_parts_stays(words, tmp_path) -> None:
    parts = tmp_path / "points.parquet.parts"
    parts.mkdir()
    (parts / "notes.txt").write_text("mine")
    assert main([*words, "--metric", "cett", "--cett", "0.1"]) == 0
    assert [path.name for path in parts.iterdir()] == ["notes.txt"]


def test_a_measurement_without_any_row_is_tried_again(words, tmp_path, capsys) -> None:
    weights = list((tmp_path / "r").glob("*/model.safetensors"))
    contents = [path.read_bytes() for path in weights]
    for path in weights:
        path.write_bytes(b"")
    command = [*words, "--metric", "cett", "--cett", "0.1"]
    assert main(command) == 1
    assert "no checkpoint could be measured" in capsys.readouterr().err
    assert not (tmp_path / "points.parquet.parts").exists()
    for path, content in zip(weights, contents, strict=True):
        path.write_bytes(content)
    assert main(command) == 0


def test_a_final_model_beside_the_checkpoints_is_named(words, tmp_path, capsys) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tmp_path / "r" / "checkpoint-200" / name, tmp_path / "r" / name)
    assert main([*words, "--metric", "cett", "--cett", "0.1"]) == 0
    assert "not measured" in capsys.readouterr().err
    assert len(sf.read_table(tmp_path / "points.parquet", min_points=1)) == 2


def test_json_and_failed_rows(words, tmp_path, capsys) -> None:
    (tmp_path / "r" / "checkpoint-180" / "config.json").unlink()
    assert main([*words, "--json", "--metric", "cett", "--cett", "0.1"]) == 3
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["failed"] == 1
    assert document["rows"][0]["activation_ratio"] is None
    assert document["rows"][0]["status"] == "failed"
    assert 0 < document["rows"][1]["activation_ratio"] < 1


def test_another_model_in_the_series_is_a_failed_row(words, tiny, tmp_path, capsys) -> None:
    """Found out before the table is refused for it, at the very end."""
    tiny("silu", hidden_size=32).save_pretrained(tmp_path / "r" / "checkpoint-180")
    assert main([*words, "--metric", "cett", "--cett", "0.1"]) == 3
    message = sf.read_table(tmp_path / "points.parquet", min_points=1)["message"][0]
    assert (
        "checkpoint-180 is another model than checkpoint-200: activation silu, not relu" in message
    )


def test_the_tokenizer_of_another_checkpoint_serves(words, tmp_path, capsys) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    vocabulary = {chr(97 + at): at for at in range(26)}
    model = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=model)
    whole.save_pretrained(tmp_path / "r" / "checkpoint-180")
    (tmp_path / "r" / "checkpoint-200" / "tokenizer.json").write_text("{")
    (tmp_path / "t.txt").write_text("anoldsparrowinthetree" * 40)
    text = ["--text", str(tmp_path / "t.txt"), "--metric", "cett", "--cett", "0.1"]
    assert main([*words, *text]) == 0
    (tmp_path / "apart").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "r" / "checkpoint-180" / name).rename(tmp_path / "apart" / name)
    assert main([*words, *text]) == 1
    assert "checkpoint-200: its tokenizer cannot be loaded" in capsys.readouterr().err
    assert main([*words, *text, "--tokenizer", str(tmp_path / "apart")]) == 0
    assert main([*words, *text, "--tokenizer", str(tmp_path / "absent")]) == 1
    assert "no tokenizer there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["-o", "points.txt"], "suffix"),
        (["-o", "absent/points.csv"], "there is no folder 'absent'"),
        (["-o", "{0}/folder.csv"], "folder.csv: this is a folder"),
        (["-o", "{0}/other.csv"], "other.layers.csv: this is a folder"),
        (["-o", "{0}/t.csv", "--text", "{0}/t.csv"], "is read by this measurement"),
        (["-p", "0.01"], "a larger p_percent"),
        (["--device", "meta"], "cannot be used here"),
        (["--text", "absent.txt"], "no such text file"),
        (["--metric", "topk"], "needs k"),
        (["--tokens-per-step", "7"], "contradictory"),
        (["--tokens-per-step", "7k"], "tokens per step says 1260000"),
        (["--device", "nonesuch"], "not a torch device"),
        (["--device", "hpu"], "cannot be used here"),
        (["--batch-size", "0"], "batch_size must be a whole number of at least 1"),
        (["--n-tokens", "0"], "at least 2"),
        (["--seq-len", "65"], "longer than the context of checkpoint-200, 64"),
    ],
)
def test_errors_before_anything_is_measured(words, change, match, capsys, tmp_path) -> None:
    for name in ("folder.csv", "other.layers.csv"):
        (tmp_path / name).mkdir()
    assert main([*words, *(word.format(tmp_path) for word in change)]) == 1
    assert match in capsys.readouterr().err
    assert not (tmp_path / "points.parquet").exists()


def test_tokens_in_billions_are_refused_before_anything_is_measured(
    words, loads, capsys, tmp_path
) -> None:
    for folder in (tmp_path / "r").iterdir():
        (folder / "trainer_state.json").unlink()
    seen = tmp_path / "seen.csv"
    seen.write_text("step,tokens\n180,90\n200,100\n")
    assert main([*words, "--tokens-file", str(seen)]) == 1
    assert "checkpoint-200: the last checkpoint has seen 100 training" in capsys.readouterr().err
    seen.write_text("step,tokens\n180,1.8\n200,2\n")
    assert main([*words, "--tokens-file", str(seen)]) == 1
    assert "checkpoint-180: 1.8 training tokens is not a whole count" in capsys.readouterr().err
    assert not loads


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options", "metric", "activation"),
    [
        ("Bert", {"is_decoder": True}, ["cett", "--cett", "0.2"], "gelu"),
        ("Moshi", {"head_dim": 8, "ffn_dim": 48}, ["topk", "--k", "5"], "silu"),
        ("XGLM", {"ffn_dim": 48, "activation_function": "relu"}, ["relu_zero"], "relu"),
    ],
)
def test_families_from_folder_to_table(
    name, options, metric, activation, family, markov, tmp_path
) -> None:
    for step in (1, 2):
        family(name, **options).save_pretrained(tmp_path / "run" / f"step-{step}")
    np.save(tmp_path / "t.npy", markov(512, seed=4))
    text = ["--text", str(tmp_path / "t.npy"), "--seq-len", "32", "--n-tokens", "512", "--quiet"]
    points = str(tmp_path / "points.csv")
    command = ["measure", str(tmp_path / "run"), *text, "--tokens-per-step", "1000", "-o", points]
    assert main([*command, "--metric", *metric]) == 0
    assert main(["validate", "--min-points", "0", points]) == 0
    table = sf.read_table(points, min_points=0)
    assert table["activation"].tolist() == [activation] * 2
    assert table["activation_ratio"].between(0.1, 0.9).all()
    assert (table["n_layers"] == 3).all()


@pytest.mark.filterwarnings("ignore")
def test_refused_families_say_why(family, markov, tmp_path, capsys) -> None:
    family("Bert").save_pretrained(tmp_path / "run" / "step-1")
    vision = tmp_path / "run" / "step-2"
    vision.mkdir()
    (vision / "config.json").write_text('{"model_type": "vit"}')
    np.save(tmp_path / "t.npy", markov(512, seed=4))
    text = ["--text", str(tmp_path / "t.npy"), "--seq-len", "32", "--quiet"]
    command = ["measure", str(tmp_path / "run"), *text, "--tokens-per-step", "1000"]
    assert main([*command, "-o", str(tmp_path / "points.csv")]) == 1
    error = capsys.readouterr().err
    assert "sees later tokens" in error
    assert "no causal language model for vit" in error

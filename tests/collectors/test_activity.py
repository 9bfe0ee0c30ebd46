"""Who is active, sweeps, and thresholds for other harnesses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sparsefit.collectors import (
    EvaluationText,
    Thresholds,
    compare_activity,
    find_sites,
    load_thresholds,
    measure_activity,
    pareto_sweep,
    response_curve,
    save_thresholds,
    sparse,
    thresholds_from_layers,
)
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.reference import sparse_run
from sparsefit.collectors.rules import OutputNorm
from sparsefit.errors import ArgumentError, CollectorError

EPS = np.array([0.05, 0.08])


def test_activity_by_hand(trained_relu, ragged_text) -> None:
    activity = measure_activity(trained_relu, {"a": ragged_text}, EPS)
    sites = find_sites(trained_relu)
    seen: dict[int, list[torch.Tensor]] = {site.layer: [] for site in sites}
    handles = [
        site.projection.register_forward_hook(
            lambda module, args, output, layer=site.layer: seen[layer].append(args[0])
        )
        for site in sites
    ]
    with torch.no_grad(), sparse(trained_relu, EPS):
        trained_relu(input_ids=torch.from_numpy(ragged_text.tokens))
    for handle in handles:
        handle.remove()
    counted = torch.from_numpy(ragged_text.counted)
    # The hook sees what the mask left: exactly the active neurons are not zero.
    active = torch.stack([seen[site.layer][0][counted] != 0 for site in sites]).double()
    frequency = activity.neurons.sort_values(["layer", "neuron"])["frequency"].to_numpy()
    np.testing.assert_allclose(frequency, active.mean(dim=1).flatten())
    ids = ragged_text.tokens[ragged_text.counted]
    for row in activity.tokens.itertuples():
        chosen = active[:, torch.from_numpy(ids == row.token)]
        assert row.count == chosen.shape[1]
        assert row.activation_ratio == pytest.approx(float(chosen.mean()))
    run = run_sparse(trained_relu, sites, ragged_text, OutputNorm(sites, EPS), batch_size=8)
    assert activity.neurons["frequency"].mean() == pytest.approx(run.activation_ratio)


def test_dead_neurons(trained_relu, text) -> None:
    activity = measure_activity(trained_relu, {"a": text}, [0.05, np.inf])
    dead = activity.dead()
    assert dead["dead"].tolist()[1] == dead["neurons"].tolist()[1] == 60
    assert dead["share"].tolist()[0] < 1


def test_comparison(trained_relu, trained_silu, text, ragged_text) -> None:
    texts = {"a": text, "b": ragged_text}
    relu = measure_activity(trained_relu, texts, EPS)
    silu = measure_activity(trained_silu, texts, EPS / 2)
    same = compare_activity(relu, relu)
    np.testing.assert_allclose(same["token_rank_correlation"], 1)
    np.testing.assert_allclose(same["frequency_distance"], 0)
    other = compare_activity(relu, silu)
    assert other["text"].tolist() == ["a", "b"]
    assert (other["token_rank_correlation"] < 1).all()
    assert (other["frequency_distance"] > 0).all()
    with pytest.raises(ArgumentError, match="no text in common"):
        compare_activity(relu, measure_activity(trained_relu, {"c": text}, EPS))
    with pytest.raises(ArgumentError, match="got DataFrame"):
        compare_activity(relu, silu.neurons)


def test_arguments_of_another_kind(trained_relu, text, tmp_path) -> None:
    with pytest.raises(ArgumentError, match="thresholds must be numbers"):
        measure_activity(trained_relu, {"a": text}, "low")
    with pytest.raises(ArgumentError, match="model must be a causal language model"):
        measure_activity("model", {"a": text}, EPS)
    with pytest.raises(ArgumentError, match="cett must be a sequence of numbers"):
        response_curve(trained_relu, text, ["low"])
    with pytest.raises(ArgumentError, match="ratios must be a sequence of numbers"):
        pareto_sweep(trained_relu, text, ratios=["half"])
    with pytest.raises(ArgumentError, match="what thresholds_from_layers returns"):
        save_thresholds([0.1, 0.2], tmp_path / "t.json")


def test_response_curve_rises(trained_silu, text) -> None:
    curve = response_curve(trained_silu, text, (0.02, 0.1, 0.3, 0.6))
    assert curve["activation_ratio"].is_monotonic_decreasing
    assert curve["ppl_ratio"].iloc[-1] > 1.05
    assert curve["ppl_ratio"].iloc[0] == pytest.approx(1.0, abs=2e-3)


def test_sweeps_on_a_small_text_match_the_reference(trained_relu, text) -> None:
    small = text.take(slice(0, 24))
    values = (0.05, 0.3, 0.8)
    curve = response_curve(trained_relu, small, values)
    sweep = pareto_sweep(trained_relu, small, cett=values, ratios=(0.2,))
    sweep = sweep[sweep["metric"] == "cett"].reset_index(drop=True)
    expected = [sparse_run(trained_relu, small, value) for value in values]
    for table in (curve, sweep):
        ratios = [run.layer_ratio.mean() for run in expected]
        np.testing.assert_allclose(table["activation_ratio"], ratios, atol=2e-4)
        np.testing.assert_allclose(table["loss_sparse"], [run.loss for run in expected], atol=2e-4)


def test_pareto_sweep_has_every_metric(trained_relu, trained_silu, text) -> None:
    small = text.take(slice(0, 32))
    table = pareto_sweep(trained_relu, small, cett=(0.1, 0.3), ratios=(0.1, 0.3))
    assert set(table["metric"]) == {"cett", "topk", "fat", "relu_zero"}
    top = table[table["metric"] == "topk"]
    np.testing.assert_allclose(top["activation_ratio"], [0.1, 0.3])
    forced = table[table["metric"] == "fat"]["activation_ratio"].to_numpy()
    np.testing.assert_allclose(forced, [0.1, 0.3], atol=0.05)
    silu = pareto_sweep(trained_silu, small, cett=(0.2,), ratios=(0.3,))
    assert "relu_zero" not in set(silu["metric"])


def test_sparse_context_is_the_measured_model(trained_silu, text) -> None:
    sites = find_sites(trained_silu)
    expected = run_sparse(trained_silu, sites, text, OutputNorm(sites, EPS), batch_size=128)
    ids = torch.from_numpy(text.tokens)
    with torch.no_grad():
        before = float(trained_silu(input_ids=ids, labels=ids).loss)
        with sparse(trained_silu, Thresholds(tuple(EPS), "r", 1)) as model:
            inside = float(model(input_ids=ids, labels=ids).loss)
            generated = model.generate(ids[:1, :8], max_new_tokens=4, do_sample=False)
        after = float(trained_silu(input_ids=ids, labels=ids).loss)
    assert inside == pytest.approx(expected.losses.mean, abs=1e-5)
    assert before == after != inside
    assert generated.shape == (1, 12)


def test_sparse_context_ends_with_an_error_inside(trained_silu, text) -> None:
    ids = torch.from_numpy(text.tokens[:2])
    with torch.no_grad():
        before = trained_silu(input_ids=ids).logits
        with pytest.raises(KeyError), sparse(trained_silu, EPS):
            raise KeyError
        assert torch.equal(before, trained_silu(input_ids=ids).logits)


def test_thresholds_round_trip(tmp_path) -> None:
    import pandas as pd

    layers = pd.DataFrame(
        {
            "run": "r",
            "tokens": [5, 5, 9, 9],
            "layer": [0, 1, 1, 0],
            "threshold": [0.1, 0.2, 0.4, 0.3],
            "cett": 0.1,
            "activation_ratio": 0.5,
        }
    )
    last = thresholds_from_layers(layers)
    assert last.values == (0.3, 0.4)
    assert thresholds_from_layers(layers, tokens=5).values == (0.1, 0.2)
    save_thresholds(last, tmp_path / "t.json")
    assert load_thresholds(tmp_path / "t.json") == last
    with pytest.raises(ArgumentError, match=r"\[5, 9\]"):
        thresholds_from_layers(layers, tokens=7)
    with pytest.raises(ArgumentError, match="not in the table"):
        thresholds_from_layers(layers, run="x")
    (tmp_path / "t.json").write_text(json.dumps({"values": "?"}))
    with pytest.raises(CollectorError, match="not a thresholds file"):
        load_thresholds(tmp_path / "t.json")


def test_texts_of_another_vocabulary_are_refused(trained_silu) -> None:
    foreign = EvaluationText(np.full((2, 8), 500), np.ones((2, 8), dtype=bool))
    with pytest.raises(ValueError, match=r".") as caught:
        measure_activity(trained_silu, {"x": foreign}, [0.1])
    assert "one per layer" in str(caught.value)
    with pytest.raises(CollectorError, match="another model"):
        measure_activity(trained_silu, {"x": foreign}, EPS)

"""Language models inside multimodal ones: found beside the towers, and read as they were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from sparsefit.collectors import Checkpoint, LoadOptions, Settings, find_sites, measure_run
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.loading import load_model
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import OutputNorm
from sparsefit.collectors.sites import count_parameters
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore")

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
TURNED = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
# As many layers as the text has, under the same names: only the place tells them apart.
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
QWEN = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "Qwen2VL": {"text_config": {**TEXT, "rope_parameters": TURNED}, "vision_config": QWEN},
    "Qwen2_5_VL": {
        "text_config": {**TEXT, "rope_parameters": TURNED},
        "vision_config": {**QWEN, "out_hidden_size": 32},
    },
    "Qwen3VL": {
        "text_config": {**TEXT, "rope_parameters": TURNED},
        "vision_config": {**QWEN, "out_hidden_size": 32, "deepstack_visual_indexes": [0]},
    },
    "Mistral3": {"text_config": {**TEXT, "model_type": "mistral"}, "vision_config": TOWER},
    "Llava": {"text_config": {**TEXT, "model_type": "llama"}, "vision_config": TOWER},
    "Idefics3": {"text_config": {**TEXT, "model_type": "llama"}, "vision_config": TOWER},
    "VideoLlava": {"text_config": {**TEXT, "model_type": "llama"}, "vision_config": TOWER},
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**MODELS[name])
    model = transformers.AutoModelForImageTextToText.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(5)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_text_model_is_measured(name: str, windows: EvaluationText, tmp_path: Path) -> None:
    made(name).save_pretrained(tmp_path / "checkpoint-10")
    checkpoint = Checkpoint("checkpoint-10", str(tmp_path / "checkpoint-10"), 10**7)
    model = load_model(checkpoint, LoadOptions())
    assert type(model).__name__ == f"{name}ForConditionalGeneration"
    sites = find_sites(model)
    assert [site.layer for site in sites] == [0, 1]
    assert not any("vis" in site.name or "tower" in site.name for site in sites)
    # 2 layers: four attention matrices (a few biases and norms beside), three of the network.
    assert 2 * (3 * 1024 + 3 * 1536) < count_parameters(model, sites) < 2 * (3 * 1024 + 3 * 1600)

    ids = torch.from_numpy(windows.tokens)
    with torch.no_grad():
        own = float(model(input_ids=ids, labels=ids).loss)
    dense = run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(2)), batch_size=4)
    assert dense.losses.mean == pytest.approx(own, rel=1e-5)
    nothing = run_sparse(model, sites, windows, OutputNorm(sites, np.full(2, np.inf)), batch_size=4)
    with torch.no_grad():
        for site in sites:
            site.projection.weight.zero_()
    assert nothing.losses.mean == pytest.approx(forward_losses(model, windows, 4).mean, rel=1e-6)
    assert abs(nothing.losses.mean - own) > 1e-4


def test_from_the_folder_to_the_table(windows: EvaluationText, tmp_path: Path) -> None:
    made("Qwen2_5_VL").save_pretrained(tmp_path / "checkpoint-10")
    found = measure_run(
        [Checkpoint("checkpoint-10", str(tmp_path / "checkpoint-10"), 10**7)],
        windows,
        settings=Settings(metric="cett", cett=0.2),
    )
    row = found.table.iloc[0]
    assert (row["status"], row["activation"], row["n_layers"], row["d_ff"]) == ("ok", "silu", 2, 48)
    pd.testing.assert_series_equal(
        found.layers["cett"], pd.Series([0.2, 0.2]), atol=1e-3, check_names=False
    )


def test_a_model_that_reads_images_in_its_layers() -> None:
    text = {**TEXT, "cross_attention_layers": [1]}
    config = transformers.MllamaConfig(text_config=text).text_config
    with pytest.raises(ModelError, match="attends to an encoder"):
        find_sites(transformers.MllamaForCausalLM(config))


def test_a_model_without_a_head_is_none(tmp_path: Path) -> None:
    """Where the folder names a class that generates nothing, the table's reason stays."""
    made("Llava").model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no causal language model for llava"):
        load_model(Checkpoint("c", str(tmp_path), 1), LoadOptions())

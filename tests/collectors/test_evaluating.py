"""Models as users have them: compiled, partly frozen, inside mixed precision."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sparsefit.collectors import measure_activity, response_curve, sparse  # noqa: E402

EPS = [0.05, 0.08]


@pytest.fixture
def ids(text):
    return torch.from_numpy(text.tokens[:4])


def loss(model, ids) -> float:
    with torch.no_grad():
        return float(model(input_ids=ids, labels=ids).loss)


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_a_model_that_ran_compiled_is_measured(trained_relu, ids, text) -> None:
    """Compiled code knows no hooks: it would give the dense model, or refuse it."""
    if not hasattr(torch.compiler, "set_stance"):
        pytest.skip("PyTorch before 2.6 cannot leave compiled code aside")
    dense = loss(trained_relu, ids)
    with sparse(trained_relu, EPS):
        expected = loss(trained_relu, ids)
    assert expected != dense
    frequency = measure_activity(trained_relu, {"a": text}, EPS).neurons["frequency"].mean()
    torch._dynamo.reset()
    try:
        compiled = torch.compile(copy.deepcopy(trained_relu), backend="eager")
        assert loss(compiled, ids) == pytest.approx(dense, abs=1e-5)
        for _ in range(2):
            with sparse(compiled, EPS):
                assert loss(compiled, ids) == pytest.approx(expected, abs=1e-5)
            assert loss(compiled, ids) == pytest.approx(dense, abs=1e-5)
        again = measure_activity(compiled, {"a": text}, EPS).neurons["frequency"].mean()
        assert again == pytest.approx(frequency)
    finally:
        torch._dynamo.reset()


def test_each_module_gets_its_own_mode_back(trained_relu, text) -> None:
    model = copy.deepcopy(trained_relu).train()
    frozen = next(module for name, module in model.named_modules() if name.endswith("layers.0"))
    frozen.eval()
    modes = [module.training for module in model.modules()]
    response_curve(model, text, cett=(0.2,))
    measure_activity(model, {"a": text}, EPS)
    assert [module.training for module in model.modules()] == modes
    assert model.training and not frozen.training


def test_mixed_precision_around_it_changes_nothing(trained_relu, text) -> None:
    plain = response_curve(trained_relu, text, cett=(0.1, 0.3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert response_curve(trained_relu, text, cett=(0.1, 0.3)).equals(plain)

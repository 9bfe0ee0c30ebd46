"""Every tensor where the model is: the collectors on pretend devices that hold real values."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from sparsefit.collectors import LoadOptions, measure_activity, reference, sparse
from sparsefit.collectors.calibrate import Plan
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, measure_rule
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.rules import ForcedThreshold, NonZero, TopK
from sparsefit.collectors.single import solve_model
from sparsefit.collectors.sweep import pareto_sweep
from sparsefit.errors import ArgumentError

# PyTorch cannot forget a device that it once knew.
pytestmark = pytest.mark.last

DEVICE, SECOND = torch.device("privateuseone:0"), torch.device("privateuseone:1")
ACROSS = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class There(torch.Tensor):
    """A tensor that says it is on a pretend device, and holds its values on the processor."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor, device: torch.device = DEVICE) -> There:
        # A view made under inference mode of one made before would be refused.
        with torch.inference_mode(False):
            found = torch.Tensor._make_wrapper_subclass(
                cls,
                values.shape,
                strides=values.stride(),
                storage_offset=values.storage_offset(),
                dtype=values.dtype,
                device=device,
            )
        found.here = values
        return found

    def __repr__(self) -> str:
        return f"There({self.here})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the pretend device's mode")


class PretendDevice(TorchDispatchMode):
    """Run operations on values on the processor, and refuse to mix devices as CUDA does.

    `waits` counts what makes a processor wait for its device: values read, tensors copied back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        tensors = [item for item in tree_iter((args, kwargs)) if isinstance(item, torch.Tensor)]
        there = any(isinstance(item, There) for item in tensors)
        if there and func not in ACROSS:
            # Scalars may come from the processor, and so may the places to pick.
            checked = args[:1] if func is torch.ops.aten.index.Tensor else tensors
            places = {t.device for t in checked if t.dim() > 0}
            assert len(places) <= 1, f"{func}: tensors on several devices"
        back = func is torch.ops.aten._to_copy.default and kwargs.get("device") is not None
        if there and (func is torch.ops.aten._local_scalar_dense.default or back):
            self.waits[str(func)] += 1
        device = kwargs.get("device")
        if device is None:
            device = next((t.device for t in tensors if isinstance(t, There)), None)
        else:
            device = torch.device(device)
            kwargs = {**kwargs, "device": torch.device("cpu")}
        result = func(*tree_map(values_of, args), **tree_map(values_of, kwargs))
        for at, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                # Written in place: the object itself goes on.
                return kwargs[argument.name] if argument.name in kwargs else args[at]
        if device is None or device.type != DEVICE.type:
            return result
        return tree_map(lambda item: moved(item, device), result)


def values_of(item):
    return item.here if isinstance(item, There) else item


def moved(item, device=DEVICE):
    return There(item, device) if type(item) is torch.Tensor else item


@pytest.fixture(scope="module")
def device():
    setup = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if setup is None:
        pytest.skip("this torch has no device backends in Python")
    setup()
    return PretendDevice


@pytest.fixture
def there(device, trained_relu):
    """The trained model, on the pretend device."""
    model = copy.deepcopy(trained_relu)
    with device():
        place(model, DEVICE)
    return model


def place(model, device):
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                values = There(values_of(parameter.detach()), device)
                module._parameters[name] = torch.nn.Parameter(values, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = There(values_of(buffer), device)


@pytest.fixture
def spread(device, there):
    """The same over two pretend devices, as accelerate places layers: the second is elsewhere."""

    def bring(where):
        def hook(module, args, options):
            return tree_map(
                lambda item: item.to(where) if isinstance(item, torch.Tensor) else item,
                (args, options),
            )

        return hook

    with device():
        last = there.model.layers[1]
        place(last, SECOND)
        last.register_forward_pre_hook(bring(SECOND), with_kwargs=True)
        there.model.norm.register_forward_pre_hook(bring(DEVICE), with_kwargs=True)
    return there


def test_mixing_devices_is_noticed(device) -> None:
    with device():
        values = torch.ones(3).to(DEVICE)
        assert (values + 1).device == DEVICE
        assert float((values * 2).sum()) == 6.0
        assert values.cpu().numpy().tolist() == [1.0, 1.0, 1.0]
        for other in (torch.ones(3), torch.ones(3).to(SECOND)):
            with pytest.raises(AssertionError, match="several devices"):
                values + other
        with pytest.raises(RuntimeError, match="numpy"):
            values.numpy()


@pytest.mark.parametrize("where", ["there", "spread"])
def test_a_solve(device, where, request, trained_relu, ragged_text) -> None:
    there = request.getfixturevalue(where)
    small = ragged_text.take(slice(0, 16))
    expected = solve_model(LoadedCheckpoint.of(trained_relu, small, 8), small, 0.05)
    with device():
        found = solve_model(LoadedCheckpoint.of(there, small, 8), small, 0.05)
    assert found.step.status == expected.step.status
    assert found.step.cett == pytest.approx(expected.step.cett, rel=1e-3)
    ours, theirs = found.measurement, expected.measurement
    assert ours.activation_ratio == pytest.approx(theirs.activation_ratio, abs=1e-3)
    assert ours.log_ratio == pytest.approx(theirs.log_ratio, abs=1e-4)


@pytest.mark.parametrize("where", ["there", "spread"])
def test_rules_sweeps_and_activity(device, where, request, trained_relu, ragged_text) -> None:
    there = request.getfixturevalue(where)
    small = ragged_text.take(slice(0, 8))
    thresholds = np.full(2, 0.02)

    def tables(model):
        activity = measure_activity(model, {"a": small}, thresholds, batch_size=3)
        sweep = pareto_sweep(model, small, cett=[0.2], ratios=[0.3])
        loaded = LoadedCheckpoint.of(model, small, 3)
        dense = forward_losses(model, small, 3)
        ratios = [
            measure_rule(loaded, small, rule, dense).activation_ratio
            for rule in (TopK(7), NonZero(), ForcedThreshold(0.1))
        ]
        with sparse(model, thresholds):
            ratios.append(forward_losses(model, small, 3).mean)
        ratios.append(reference.sparse_run(model, small.take(slice(0, 2)), 0.2).loss)
        return activity.neurons, activity.tokens, sweep, pd.DataFrame({"ratio": ratios})

    expected = tables(trained_relu)
    with device():
        found = tables(there)
    for ours, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-3, atol=1e-3)


def test_how_often_the_device_is_waited_for(device, there, text) -> None:
    """Every wait stops a queue of work: one for a batch's losses, a few for a layer's points."""
    small = text.take(slice(0, 32))
    with device() as mode:
        forward_losses(there, small, 8)
        # The losses of each of four batches; as often the model itself looks at its mask.
        assert sum(mode.waits.values()) <= 8
        loaded = LoadedCheckpoint.of(there, small, 8)
        mode.waits.clear()
        loaded.calibrate(small, Plan((0.1,)))
        # Four batches, two layers.
        assert sum(mode.waits.values()) < 60


@pytest.mark.parametrize("device_name", ["nonesuch", "hpu", "cuda:7", "meta"])
def test_devices_that_cannot_be_used(device_name) -> None:
    with pytest.raises(ArgumentError, match="device="):
        LoadOptions(device=device_name)

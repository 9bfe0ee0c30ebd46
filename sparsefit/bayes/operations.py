"""PyTensor operations with analytic gradients: likelihood and coordinates of groups of models.

Both take the array of `nuts_groups.pack_groups` and answer for each group, in rows. A row without a
group holds the coordinates of the first and a likelihood of zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sparsefit.bayes.likelihood_op import HEADER, assemble
from sparsefit.bayes.nuts_groups import MOST
from sparsefit.bayes.nuts_map import map_with_jacobian

# Of what the functions compute: raise it with every change, compiled copies are kept on disk.
_VERSION = 3
# Log of no likelihood: finite, because infinities would turn gradients into NaN.
_NONE = -1e300


@cache
def _compiled(function: Callable[..., Any]) -> Any:
    import numba

    # Sums may be reordered; infinities and NaN keep their meaning. A check for zero before every
    # division would keep the loops over models from being vectorised.
    compile_ = numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
    return compile_(function)


@cache
def _likelihoods() -> Any:
    """`likelihood_op.log_likelihood` of each group, compiled."""
    import numba

    # Put into the caller as they are: one function compiles faster, and to the same sums.
    of_one = assemble(numba.njit(inline="always"), _compiled)

    def of_each(at, data):  # type: ignore[no-untyped-def]
        values, gradients = np.full(MOST, _NONE), np.zeros((MOST, 5))
        for g in range(MOST):
            if data[g] >= 0:
                values[g], gradients[g] = of_one(at[g], data[int(data[g]) :])
        return values, gradients

    return numba.njit(of_each)


@cache
def _maps() -> Any:
    """`nuts_map.map_with_jacobian` of each group, compiled."""
    import numba

    of_one = _compiled(map_with_jacobian)

    def of_each(z, data):  # type: ignore[no-untyped-def]
        p = z.size
        x, log_jacobian = np.empty((MOST, p)), np.zeros(MOST)
        jacobian, slope = np.zeros((MOST, p, p)), np.zeros((MOST, p))
        for g in range(MOST):
            if data[g] >= 0:
                flat = data[int(data[g]) + HEADER :]
                x[g], log_jacobian[g], jacobian[g], slope[g] = of_one(z, flat)
            else:
                x[g] = x[0]
        return x, log_jacobian, jacobian, slope

    return numba.njit(of_each)


@cache
def likelihood_operation() -> Any:
    """Operation of (parameters in rows, data): log likelihoods and their gradients."""
    import pytensor.tensor as pt
    from pytensor.gradient import grad_undefined
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class LogLikelihood(Op):  # type: ignore[misc]
        """Only the first output can be differentiated."""

        __props__ = ()

        def make_node(self, at: Any, data: Any) -> Any:
            inputs = (pt.as_tensor_variable(at), pt.as_tensor_variable(data))
            return Apply(self, inputs, _tensors((MOST,), (MOST, 5)))

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            for storage, value in zip(outputs, _likelihoods()(*inputs), strict=True):
                storage[0] = value

        def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            slope = cotangents[0][:, None] * self(*inputs)[1]
            return [slope, grad_undefined(self, 1, inputs[1], "the data of a run")]

    _name_gradient(LogLikelihood)
    _register(LogLikelihood, _likelihoods)
    return LogLikelihood()


@cache
def map_operation() -> Any:
    """Operation of (z, data): x in rows, log Jacobians and their derivatives."""
    import pytensor.tensor as pt
    from pytensor.gradient import grad_undefined
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class Coordinates(Op):  # type: ignore[misc]
        """Only the first two outputs can be differentiated."""

        __props__ = ()

        def make_node(self, z: Any, data: Any) -> Any:
            inputs = (pt.as_tensor_variable(z), pt.as_tensor_variable(data))
            p = inputs[0].type.shape[0]
            return Apply(self, inputs, _tensors((MOST, p), (MOST,), (MOST, p, p), (MOST, p)))

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            for storage, value in zip(outputs, _maps()(*inputs), strict=True):
                storage[0] = value

        def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            _, _, jacobian, slope = self(*inputs)
            by_x, by_log = cotangents[:2]
            found = pt.sum(by_x[:, :, None] * jacobian, axis=(0, 1)) + pt.dot(by_log, slope)
            return [found, grad_undefined(self, 1, inputs[1], "the data of a run")]

    _name_gradient(Coordinates)
    _register(Coordinates, _maps)
    return Coordinates()


def _tensors(*shapes: tuple[int, ...]) -> list[Any]:
    import pytensor.tensor as pt

    return [pt.tensor(dtype="float64", shape=shape) for shape in shapes]


def _name_gradient(operation_type: Any) -> None:
    """Give `pullback` the name that PyTensor 2 knows it by."""
    from pytensor.graph.op import Op

    if not hasattr(Op, "pullback"):
        operation_type.L_op = operation_type.pullback


def _register(operation_type: Any, make: Callable[[], Any]) -> None:
    """Tell PyTensor's numba backend, where there is one, to call the compiled function."""
    try:
        from pytensor.link.numba.dispatch import basic
    except ImportError:
        return
    # Newer versions keep what they compiled on disk, by version and operation.
    cached = hasattr(basic, "register_funcify_default_op_cache_key")
    register = (
        basic.register_funcify_default_op_cache_key if cached else basic.numba_funcify.register
    )

    @register(operation_type)  # type: ignore[untyped-decorator]
    def funcify(op: Any, node: Any = None, **kwargs: Any) -> Any:
        return (make(), _VERSION) if cached else make()

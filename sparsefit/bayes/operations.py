"""PyTensor operations with analytic gradients: the likelihood and the map of the coordinates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sparsefit.bayes.likelihood_op import assemble
from sparsefit.bayes.nuts_map import map_with_jacobian

# Of what the functions compute: raise it with every change, compiled copies are kept on disk.
_VERSION = 2


@cache
def _compiled(function: Callable[..., Any]) -> Any:
    import numba

    # Sums may be reordered; infinities and NaN keep their meaning. A check for zero before every
    # division would keep the loops over models from being vectorised.
    compile_ = numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
    return compile_(function)


@cache
def compiled_likelihood() -> Any:
    """`likelihood_op.log_likelihood`, compiled."""
    import numba

    # Put into the caller as they are: one function compiles faster, and to the same sums.
    return assemble(numba.njit(inline="always"), _compiled)


@cache
def likelihood_operation() -> Any:
    """Operation of (parameters, run): log likelihood and its gradient, see `assemble`."""
    import pytensor.tensor as pt
    from pytensor.gradient import grad_undefined
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class LogLikelihood(Op):  # type: ignore[misc]
        """Only the first output can be differentiated."""

        __props__ = ()

        def make_node(self, at: Any, run: Any) -> Any:
            inputs = (pt.as_tensor_variable(at), pt.as_tensor_variable(run))
            return Apply(self, inputs, [pt.dscalar(), pt.vector(dtype="float64", shape=(5,))])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            value, gradient = compiled_likelihood()(*inputs)
            outputs[0][0], outputs[1][0] = np.asarray(value), gradient

        def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            slope = cotangents[0] * self(*inputs)[1]
            return [slope, grad_undefined(self, 1, inputs[1], "the data of a run")]

    def funcify() -> Any:
        import numba

        function = compiled_likelihood()

        @numba.njit  # type: ignore[untyped-decorator]
        def call(at, run):  # type: ignore[no-untyped-def]
            value, gradient = function(at, run)
            return np.asarray(value), gradient

        return call

    _name_gradient(LogLikelihood)
    _register(LogLikelihood, funcify)
    return LogLikelihood()


@cache
def map_operation() -> Any:
    """Operation of (z, map): x, log Jacobian and their derivatives, see `map_with_jacobian`."""
    import pytensor.tensor as pt
    from pytensor.gradient import grad_undefined
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class Coordinates(Op):  # type: ignore[misc]
        """Only the first two outputs can be differentiated."""

        __props__ = ()

        def make_node(self, z: Any, flat: Any) -> Any:
            inputs = (pt.as_tensor_variable(z), pt.as_tensor_variable(flat))
            p = inputs[0].type.shape[0]
            vector, matrix = (pt.TensorType("float64", shape=shape) for shape in ((p,), (p, p)))
            return Apply(self, inputs, [vector(), pt.dscalar(), matrix(), vector()])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            for storage, value in zip(outputs, _compiled(map_with_jacobian)(*inputs), strict=True):
                storage[0] = np.asarray(value)

        def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            _, _, jacobian, slope = self(*inputs)
            by_x, by_log = cotangents[:2]
            found = pt.dot(by_x, jacobian) + by_log * slope
            return [found, grad_undefined(self, 1, inputs[1], "the data of a run")]

    def funcify() -> Any:
        import numba

        function = _compiled(map_with_jacobian)

        @numba.njit  # type: ignore[untyped-decorator]
        def call(z, flat):  # type: ignore[no-untyped-def]
            x, log_jacobian, jacobian, slope = function(z, flat)
            return x, np.asarray(log_jacobian), jacobian, slope

        return call

    _name_gradient(Coordinates)
    _register(Coordinates, funcify)
    return Coordinates()


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

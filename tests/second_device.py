"""A second torch device without hardware, which refuses what a GPU refuses.

Its tensors hold their values in a tensor of the CPU, so that results are those of the CPU bit for
bit, but torch sees tensors of a device of their own (the key PrivateUse1 of its dispatcher):

- operations on tensors of both devices raise an error, unless the tensor of the CPU has no
  dimension, which a GPU accepts too;
- so does `numpy()`, and whatever reads the memory of a tensor without going through torch.

A forgotten `.to(device)` or `device=` therefore fails on it. What a GPU's kernels lack, and in
which order they sum, only a GPU shows: see bench/gpu.py.
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "second"
HARDWARE = os.environ.get("EMBPRESS_TEST_DEVICE", "")
"""A device that tests use in its place, such as `cuda`: see bench/gpu.py."""
COPIES = ("aten::_to_copy", "aten::copy_", "aten::_copy_from_and_resize")
"""Operations between devices."""
FACTORIES = (
    *("arange", "arange.start", "arange.start_step", "eye", "eye.m", "linspace"),
    *("randperm", "randperm.generator"),
)
"""Operations that make a tensor and size it themselves."""


def assert_same(found: Tensor, wanted: Tensor) -> None:
    """A tensor of the device is that of the CPU: to the bit, or on hardware up to rounding."""
    if HARDWARE:
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(found.cpu(), wanted)


class _Module(_DummyBackendModule):
    """What torch asks of `torch.second`: random numbers are those of the CPU's generator."""

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        pass


@cache
def second_device() -> torch.device:
    """The device. It is registered at the first call, before the first gradient of a process.

    Autograd counts the devices then, and never again.
    """
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("_", "IMPL", "PrivateUse1")
    library.fallback(_call)
    factories = torch.library.Library("aten", "IMPL", "PrivateUse1")
    for name in FACTORIES:
        overload = getattr(torch.ops.aten, name.partition(".")[0])
        operation = getattr(overload, name.partition(".")[2] or "default")
        factories.impl(name, _as_fallback(operation))
    _LIBRARIES.extend((library, factories))
    return torch.device(NAME, 0)


_LIBRARIES: list[torch.library.Library] = []
"""Registrations end with the objects that made them."""


class TensorFunction(TorchFunctionMode):
    """Lets `torch.tensor(values, device=...)` make a tensor of the second device.

    It cannot itself call a backend that is written in Python.
    """

    def __torch_function__(
        self, function: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Make the tensor on the CPU, and move it."""
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if function is torch.tensor and device is not None and torch.device(device).type == NAME:
            return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(device)
        return function(*args, **kwargs)


class SecondTensor(Tensor):
    """A tensor of the second device.

    Attributes:
        values: the same tensor on the CPU; views of one share memory with views of the other.
    """

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "SecondTensor":
        """Wrap a tensor of the CPU."""
        wrapper: SecondTensor = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        wrapper.values = values
        return wrapper

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"SecondTensor({self.values})"

    def tolist(self) -> Any:
        """The values; torch copies them from any device, but not out of a subclass."""
        return self.values.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused as for a tensor of a GPU, by torch's own type of error."""
        if force:
            return self.values.numpy(force=True)
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy: use Tensor.cpu()")

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation that has a tensor of this device among its arguments."""
        return _call(operation, *args, **(kwargs or {}))


def _as_fallback(operation: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: _call(operation, *args, **kwargs)


def _call(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation of the dispatcher on the CPU, and wrap its results."""
    name = operation._schema.name
    returned = operation._schema.returns
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if name not in COPIES:
        for tensor in tensors:
            if not isinstance(tensor, SecondTensor) and tensor.ndim:
                raise RuntimeError(
                    f"{operation}: expected all tensors to be on the same device, but found at "
                    f"least two devices, {NAME}:0 and {tensor.device}"
                )
    if kwargs.get("pin_memory"):
        kwargs = kwargs | {"pin_memory": False}
    sizes = [tensor.shape for tensor in tensors]
    result = operation(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
    if torch.Tag.inplace_view in operation.tags:  # squeeze_, unsqueeze_, t_, ...
        with torch._C._DisableTorchDispatch():
            return operation(*args, **kwargs)  # of the wrapper's own sizes and strides
    for tensor, size in zip(tensors, sizes):
        if isinstance(tensor, SecondTensor) and tensor.values.shape != size:
            raise NotImplementedError(f"{operation} resizes a tensor: add it to FACTORIES")
    device = kwargs.get("device")
    if device is not None and torch.device(device).type != NAME:
        return result
    if name in COPIES and not isinstance(args[0], SecondTensor) and device is None:
        return args[0]  # copy_ into a tensor of the CPU
    # In inference mode a view of a tensor that was made outside of it is no inference tensor.
    is_view = any(part.alias_info and not part.alias_info.is_write for part in returned)
    is_inference = not is_view or all(tensor.is_inference() for tensor in tensors)
    with torch.inference_mode(torch.is_inference_mode_enabled() and is_inference):
        return tree_map(lambda leaf: _wrap(leaf, tensors), result)


def _wrap(leaf: Any, arguments: list[Tensor]) -> Any:
    """A tensor of the second device for one of the CPU: the argument itself if it was changed."""
    if not isinstance(leaf, Tensor):
        return leaf
    for argument in arguments:
        if isinstance(argument, SecondTensor) and argument.values is leaf:
            return argument
    return SecondTensor(leaf)


def _unwrap(leaf: Any) -> Any:
    if isinstance(leaf, SecondTensor):
        return leaf.values
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf

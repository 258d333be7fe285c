"""Arrays: those of NumPy, and by way of NumPy those of other libraries.

PyTorch, JAX, TensorFlow and whoever else implements the array API's interchange have `__dlpack__`:
https://data-apis.org/array-api/latest/design_topics/data_interchange.html
"""

import sys
from typing import Any

from erlang_python_worker import _protocol as wire
from erlang_python_worker._encoder import MARKS, EncodeError, Encoder

# bool, signed, unsigned, float, complex, timedelta64, datetime64
TENSOR_KINDS = "biufcmM"

# Units of NumPy's clocks of which Python's have no twin: `item` makes bare numbers of them.
_FINER = ("ns", "ps", "fs", "as")

# What NumPy has of floats. Others, such as bfloat16, have less precision than float32.
_FLOATS = ("float16", "float32", "float64")


def array(encoder: Encoder, value: Any) -> Any:
    """Of NumPy."""
    numpy = sys.modules["numpy"]
    value = _known_floats(value)
    # A masked array's mask, objects and text have no form in a tensor.
    if encoder.plain or value.dtype.kind in "OSUT" or hasattr(value, "mask"):
        return _in_microseconds(value).tolist()
    if value.dtype.kind not in TENSOR_KINDS:
        raise EncodeError(f"cannot encode an array of dtype '{value.dtype}'")
    plain = numpy.ascontiguousarray(value)  # also of ndarray's subclasses
    data = encoder.data(memoryview(plain.reshape(-1).view("u1")))
    return [MARKS[wire.TENSOR], value.dtype.str, list(value.shape), data]


def is_of_another_library(kind: type) -> bool:
    return hasattr(kind, "__dlpack__") and "numpy" not in (base.__module__ for base in kind.__mro__)


def of_another_library(encoder: Encoder, value: Any) -> Any:
    try:
        found = _as_numpy(value)
    except Exception as error:  # sparse or quantized, without data, on a device that can't give it
        told = f"cannot make a NumPy array of a '{_name_of(value)}': {error}"
        raise EncodeError(told) from error
    return array(encoder, found)


def _as_numpy(value: Any) -> Any:
    import numpy

    # PyTorch gives nothing that it computes gradients for, nor what NumPy has no type for.
    if hasattr(value, "detach"):
        if value.is_floating_point() and str(value.dtype).rpartition(".")[-1] not in _FLOATS:
            value = value.float()
        return value.numpy(force=True)
    # Where it is not asked by `__array__`, `asarray` makes an array of the object itself.
    return numpy.asarray(value) if hasattr(value, "__array__") else numpy.from_dlpack(value)


def _known_floats(value: Any) -> Any:
    """Floats of the package ml_dtypes as those of NumPy that hold them all."""
    dtype = value.dtype
    narrow = dtype.itemsize < 4 and dtype.name.startswith(("bfloat", "float"))
    return value.astype("f4") if narrow and dtype.name not in _FLOATS else value


def scalar(_encoder: Encoder, value: Any) -> Any:
    """Of NumPy."""
    item = _in_microseconds(value).item()
    if type(item) is int and value.dtype.kind in "mM":
        # Years and months of a timedelta, or a date far from ours.
        raise EncodeError(f"cannot encode {value!r}: Python's datetime has no counterpart")
    if type(item) is type(value):  # longdouble has no Python twin
        item = float(item)
    if type(item) is complex:
        raise EncodeError(f"cannot encode a value of type '{_name_of(value)}'")
    return item


def _in_microseconds(value: Any) -> Any:
    """An array or a scalar of NumPy's; the clocks among them as fine as Python's at most."""
    kind = value.dtype.kind
    if kind in "mM" and sys.modules["numpy"].datetime_data(value.dtype)[0] in _FINER:
        return value.astype(f"{kind}8[us]")
    return value


def _name_of(value: Any) -> str:
    # Which imports this.
    from erlang_python_worker._types import name

    return name(type(value))

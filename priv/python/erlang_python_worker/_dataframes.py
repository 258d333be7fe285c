"""Dataframes as Arrow's IPC streams, which all libraries of dataframes read and write.

https://arrow.apache.org/docs/format/Columnar.html, "IPC Streaming Format". None of the libraries is
loaded before there is a dataframe.
"""

from importlib import import_module
from io import BytesIO
from typing import Any

from erlang_python_worker._encoder import EncodeError, Encoder
from erlang_python_worker._extensions import DecodeError


def write(encoder: Encoder, value: Any) -> Any:
    """A dataframe of pandas or polars, a `pyarrow.Table` or `RecordBatch`."""
    try:
        stream = _polars_stream(value) if hasattr(value, "write_ipc_stream") else _stream(value)
    except EncodeError:
        raise
    except Exception as error:  # a column of objects of any kind
        raise EncodeError(f"cannot write a dataframe as Arrow: {error}") from error
    return encoder.data(memoryview(stream))


def _stream(value: Any) -> Any:
    pyarrow = _library("pyarrow")
    if pyarrow is None:
        raise EncodeError(
            "cannot write a dataframe of pandas as Arrow: this Python has no pyarrow; "
            "install it, or return plain data (df.to_dict('list'))"
        )
    table = value if hasattr(value, "schema") else pyarrow.Table.from_pandas(value)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue()


def _polars_stream(value: Any) -> Any:
    polars = _library("polars")
    for name, kind in value.schema.items():
        if kind == polars.Object:  # it would write their addresses
            raise EncodeError(
                f"cannot write a dataframe as Arrow: its column {name!r} holds Python objects"
            )
    level = getattr(polars, "CompatLevel", None)
    # What all readers know; polars' own has types that older ones don't.
    options = {} if level is None else {"compat_level": level.oldest()}
    return value.write_ipc_stream(None, **options).getbuffer()


def read(data: Any) -> Any:
    """The `pyarrow.Table` of a stream, or the `polars.DataFrame` where there is no pyarrow."""
    pyarrow = _library("pyarrow")
    polars = _library("polars") if pyarrow is None else None
    try:
        if pyarrow is not None:
            return pyarrow.ipc.open_stream(pyarrow.py_buffer(data)).read_all()
        if polars is not None:
            return polars.read_ipc_stream(BytesIO(data))
    except Exception as error:
        raise DecodeError(f"a dataframe is no Arrow stream: {error}") from None
    raise DecodeError("a dataframe, and this Python has neither pyarrow nor polars: install one")


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None

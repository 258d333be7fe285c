from typing import NamedTuple


class Tensor(NamedTuple):
    """An array from Elixir in an environment without NumPy.

    Attributes:
        dtype: NumPy's typestr, such as ``"<f8"``.
        shape: the size of each axis.
        data: the elements in C order.
    """

    dtype: str
    shape: "tuple[int, ...]"
    data: bytes

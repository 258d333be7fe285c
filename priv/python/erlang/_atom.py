class Atom(str):
    """An atom: a ``str`` that goes back to Elixir as an atom.

    It equals and hashes as its text, so ``value == "ok"`` and dict look-ups with plain
    strings work. Elixir makes no new atoms for Python: a name that is no atom there
    becomes a binary.

    Raises:
        TypeError: the name is no ``str``.
        ValueError: it has not 1 to 255 characters.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> "Atom":
        if not isinstance(name, str):
            raise TypeError(f"expected str, got {type(name).__name__}")
        if not 1 <= len(name) <= 255:
            raise ValueError(f"an atom has 1 to 255 characters, got {len(name)}")
        return str.__new__(cls, name)

    def __repr__(self) -> str:
        return f"erlang.Atom({str.__repr__(self)})"

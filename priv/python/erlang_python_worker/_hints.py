"""What to do about exceptions that nearly always have the same reason. Shown as notes are."""

import os
import sys
from typing import Optional


def hint(error: BaseException) -> "Optional[str]":
    if isinstance(error, SyntaxError) and error.msg == "'return' outside function":
        return "The value of run is that of the last expression: write it without return."
    if not isinstance(error, ImportError) or not isinstance(error.name, str):
        return None
    if isinstance(error, ModuleNotFoundError):
        return _not_found(error.name)
    # `from erlang import name` makes this of the module's own AttributeError.
    if error.name == "erlang":
        return (
            "No function of this name is registered (ErlangPython.register, py:register_function)."
        )
    return None


def _not_found(name: str) -> "Optional[str]":
    if name == "Elixir":
        return 'Numpy is the atom :"Elixir.Numpy" in Elixir: write :numpy or "numpy".'
    # The package is there and has no such submodule: Python's own text says all.
    if name.partition(".")[0] in sys.modules:
        return None
    version = ".".join(map(str, sys.version_info[:3]))
    # Python has its standard library's zip file there, which as a rule is none.
    absent = [at for at in sys.path if at and not _is_there(at)]
    return (
        f"Not found by {sys.executable} (Python {version}). The pool's options :venv and :python "
        "say which packages it has, :paths where modules of your own are."
        + (f" It looked in vain for {', '.join(absent)}; {_here()}." if absent else "")
    )


def _here() -> str:
    try:
        return f"its current folder is {os.getcwd()}"
    except OSError:
        return "its current folder is gone"


def _is_there(at: object) -> bool:
    # What is no str, such as a Path, Python passes over.
    return not isinstance(at, str) or at.endswith(".zip") or os.path.exists(at)

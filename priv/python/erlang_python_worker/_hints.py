"""What to do about exceptions that nearly always have the same reason. Shown as notes are."""

import os
import re
import sys
from typing import Optional


class _Pool:
    """The one that this worker belongs to, as SETUP says."""

    name = ":default"
    packages = "interpreter"


pool = _Pool()

_PACKAGES = {
    "interpreter": "Its options :venv and :python say which packages it has",
    "requirements": "Add packages to its requirements",
    "project": "Add packages to the dependencies of its pyproject.toml",
}


def hint(error: BaseException) -> "Optional[str]":
    if isinstance(error, SyntaxError):
        return _syntax(error)
    if type(error) is AttributeError:
        # Its attributes `name` and `obj` came with Python 3.10.
        text = error.args[0] if error.args else None
        return _MAIN if isinstance(text, str) and text.startswith(_NOT_IN_MAIN) else None
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


_NOT_IN_MAIN = "module '__main__' has no attribute "
_MAIN = (
    "Each worker, each context and the cells of each process have a __main__ of their own. A call "
    "finds what cells define if the process was bound before (ErlangPython.bind(mode: :shared)), "
    "what a context has by context:."
)


def _syntax(error: SyntaxError) -> "Optional[str]":
    if error.msg == "'return' outside function":
        return "The value is that of the last expression, without return; exec gives none."
    if isinstance(error.text, str) and re.match(r"\s*(!|%%?[A-Za-z])", error.text):
        return (
            "IPython's ! and % are not Python. Packages stand in the pool's options "
            "(python: {:requirements, [...]})."
        )
    return None


def is_no_module(name: str) -> bool:
    """Is it the name of a file, or an alias of Elixir's?"""
    return "/" in name or name.endswith(".py") or name.startswith("Elixir.")


def _not_found(name: str) -> "Optional[str]":
    if name.startswith("Elixir."):
        alias = name[len("Elixir.") :]
        text = f'"{alias.lower()}"'
        atom = "" if "." in alias else f":{alias.lower()} or "
        return f'{alias} is the atom :"{name}" in Elixir: write {atom}{text}.'
    if is_no_module(name):
        file = os.path.basename(name.rstrip("/"))
        module = file[: -len(".py")] if file.endswith(".py") else file
        return (
            f'A module is named without folder and .py: "{module}", with its folder in the '
            "pool's option :paths."
        )
    # The package is there and has no such submodule: Python's own text says all.
    if name.partition(".")[0] in sys.modules:
        return None
    version = ".".join(map(str, sys.version_info[:3]))
    # Python has its standard library's zip file there, which as a rule is none.
    absent = [at for at in sys.path if at and not _is_there(at)]
    return (
        f"Not found by the pool {pool.name} ({sys.executable}, Python {version}). "
        f"{_PACKAGES[pool.packages]}; :paths names the folders of your own modules."
        + (" The option pool: of a call names another pool." if pool.name == ":default" else "")
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

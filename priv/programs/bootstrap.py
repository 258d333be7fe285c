"""Where a worker starts, and each program of this folder: run by path in the user's interpreter.

    python bootstrap.py [PROGRAM ARGUMENT ...]

This file alone must parse on every Python, 2 included, so that one too old gets a sentence
instead of a SyntaxError.
"""

import sys

TOO_OLD = 77  # docs/protocol.md, "Start of a worker"

if sys.version_info < (3, 9):
    sys.stderr.write(
        "erlang_python needs Python 3.9 or newer, but {} is Python {}.{}.{}: "
        "name another one by the pool's option :python or :venv\n".format(
            sys.executable, *sys.version_info[:3]
        )
    )
    sys.exit(TOO_OLD)


def main():
    # type: () -> None
    import os

    if len(sys.argv) > 1:
        import runpy

        sys.argv.pop(0)
        runpy.run_path(sys.argv[0], run_name="__main__")
        return

    packages = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python")
    # Python has put this file's folder at the front, unless told not to (-I, -P): no user's import
    # is to find a program. That of our two packages stands there only until they are loaded.
    if sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, packages)
    else:
        sys.path[0] = packages

    import erlang  # noqa: F401
    from erlang_python_worker import _start

    sys.path.append(sys.path.pop(0))
    _start.main()


if __name__ == "__main__":
    main()

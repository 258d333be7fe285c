"""Builds a virtual environment, by uv, in a cache folder; nothing happens when it is there.

    python environment.py --base DIR --id ID
        (--project DIR | --pyproject TEXT | --requirement R ... | --requirements-file PATH)
        [--extra NAME] [--group NAME] [--python PATH or VERSION] [--wheels DIR] [--no-downloads]

The environment lands in DIR/envs/ID. Its interpreter is the last line on stdout, after
"ready: ". Exits with 1 if that can't be done, with 3 if it is for want of a Python, and says why on
stderr.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Isolated mode (-I) leaves this folder out.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _installers import (
    ProvisionError,
    file_lock,
    from_wheels,
    has_pip,
    pip_environment,
    put_in_place,
    run,
    scratch_for,
    tell,
)
from _program import absolute, finish, parser
from _uv import find_uv, uv_environment

# Which interpreter the environment was made for. Written last.
MARKER = "erlang_python.txt"
IDENTITY = Path(__file__).resolve().parent / "identity.py"


class NoPythonError(ProvisionError):
    """No interpreter fits, and none can be downloaded: no folder of wheels would help."""

    status = 3


@dataclass(frozen=True)
class Options:
    base: Path
    id: str
    project: Path | None
    pyproject: str | None
    requirements: list[str]
    requirements_file: Path | None
    extras: list[str]
    groups: list[str]
    python: str | None
    wheels: Path | None
    downloads: bool

    @property
    def final(self) -> Path:
        """Where the environment lands."""
        return self.base / "envs" / self.id

    @property
    def packages(self) -> list[str]:
        """What an installer is to install, as its arguments; empty for a project."""
        if self.requirements_file is not None:
            return ["-r", str(self.requirements_file)]
        return self.requirements

    @property
    def folder(self) -> Path | None:
        """Where relative paths begin."""
        return self.requirements_file.parent if self.requirements_file else self.project


def ensure(options: Options) -> Path:
    """Makes sure that the environment is there and whole.

    Returns:
        its interpreter.
    Raises:
        ProvisionError: it could not be built.
        OSError: the cache folder can't be written.
    """
    final = options.final
    if defect(final) is None:
        return final / "bin" / "python"
    final.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(final.parent / f".{options.id}.lock") as alone:
        # Somebody else may have built it while this process waited.
        reason = defect(final)
        if reason is not None:
            tell(f"building the environment {final}: {reason}")
            build(options, final, alone)
    return final / "bin" / "python"


def defect(folder: Path) -> str | None:
    """What is wrong with an environment, or None if it can be used."""
    if not folder.is_dir():
        return "not there yet"
    try:
        made_for = (folder / MARKER).read_text(encoding="utf-8")
        now = identity(folder / "bin" / "python")
    except (ProvisionError, OSError) as error:
        return f"its Python is gone ({error})"
    if now != made_for:
        return f"made for {made_for.strip()}, its Python is now {now.strip()}"
    return None


def identity(python: Path) -> str:
    return run([str(python), "-I", str(IDENTITY)], dict(os.environ), Path("/"))


def build(options: Options, final: Path, alone: bool) -> None:
    with scratch_for(final, alone) as scratch:
        made = scratch / "environment"
        install(options, scratch, made)
        (made / MARKER).write_text(identity(made / "bin" / "python"), encoding="utf-8")
        put_in_place(made, final, scratch)


def install(options: Options, scratch: Path, made: Path) -> None:
    try:
        uv = find_uv(options.base, options.wheels)
    except ProvisionError:
        # What pip can do too need not fail for want of uv. Another Python it can't get.
        absent = options.python and "/" not in options.python
        if not options.packages or absent or not has_pip(sys.executable):
            raise
        by_pip(options, scratch, made)
    else:
        Uv(uv, options, scratch).install(made)


def by_pip(options: Options, scratch: Path, made: Path) -> None:
    python = options.python or sys.executable
    tell("there is no uv: by venv and pip")
    run([python, "-I", "-m", "venv", str(made)], dict(os.environ), scratch)
    pip = [str(made / "bin" / "python"), "-I", "-m", "pip"]
    command = [*pip, "install", *from_wheels(options.wheels), *options.packages]
    cwd = options.folder or scratch
    run(command, pip_environment(pip, cwd), cwd, each_line=tell_step)
    rename_in_scripts(made, options.final)


def rename_in_scripts(made: Path, final: Path) -> None:
    """venv and pip write the environment's folder into its scripts, which uv makes relocatable."""
    old, new = os.fsencode(made), os.fsencode(final)
    for script in (made / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if old in content and b"\0" not in content:
            script.write_bytes(content.replace(old, new))


def tell_step(line: str) -> None:
    """Passes on what an installer does that may take long."""
    if re.match(r"(Resolved|Downloading|Building|Built|Prepared|Installed|Installing) ", line):
        tell(line)


class Uv:
    """One environment, built by uv in steps."""

    def __init__(self, uv: str, options: Options, scratch: Path) -> None:
        self.uv = uv
        self.options = options
        self.environment = uv_environment(options.base)
        self.project = options.project
        if options.pyproject is not None:
            self.project = scratch / "project"
            self.project.mkdir()
            (self.project / "pyproject.toml").write_text(options.pyproject, encoding="utf-8")
        self.scratch = scratch

    def install(self, made: Path) -> None:
        self.make(made)
        # The base interpreter's own, where `made` is a copy of a virtual environment's.
        command = ["--python", str(made / "bin" / "python"), "--compile-bytecode"]
        self.run("pip", "install", *command, *from_wheels(self.options.wheels), *self.wanted())

    def make(self, made: Path) -> None:
        """The environment without packages; uv downloads its interpreter if it has to."""
        command = ["venv", "--relocatable", "--no-project", str(made), "--python"]
        python = self.interpreter()
        if python is not None:
            tell(f"making it with {python}")
            self.run(*command, python)
            return
        wanted = self.wanted_python()
        if not self.options.downloads:
            raise NoPythonError(
                f"no Python {wanted} was found, and downloads are off: install it "
                f"(`uv python install '{wanted}'`), or allow `downloads: true`"
            )
        tell(f"making it with a Python {wanted} that uv downloads")
        try:
            self.run(*command, wanted)
        except ProvisionError as error:
            raise NoPythonError(
                f"no Python {wanted} was found, and uv could not download one:\n{error}\n"
                "install it by the system or by pyenv and name its path (`python: path`), or set "
                "UV_PYTHON_INSTALL_MIRROR to a mirror of uv's Pythons"
            ) from error

    def interpreter(self) -> str | None:
        """The path of the Python to take, None if there is none that fits."""
        request = self.options.python
        if request and "/" in request:
            self.check_requires_python(request)
            return request
        return self.find(request, self.environment)

    def wanted_python(self) -> str:
        """What to look for and to download, in uv's words."""
        of_project = (
            (pinned_python(self.project) or requires_python(self.project)) if self.project else None
        )
        return self.options.python or of_project or ">=3.9"

    def find(self, request: str | None, environment: dict[str, str]) -> str | None:
        where = ["--project", str(self.project)] if self.project else ["--no-project"]
        command = [self.uv, "python", "find", "--system", "--no-python-downloads", *where]
        if request:
            command.append(request)
        done = subprocess.run(  # noqa: S603 - fixed words and paths, no shell
            command, env=environment, cwd=self.scratch, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or None

    def check_requires_python(self, python: str) -> None:
        """uv takes an interpreter that it is given, whatever the project says."""
        if self.project is None:
            return
        alone = self.scratch / "alone"
        alone.mkdir()
        (alone / "python3").symlink_to(python)
        only = {"PATH": str(alone), "UV_PYTHON_INSTALL_DIR": str(alone)}
        if self.find(None, {**self.environment, **only}) is None:
            raise ProvisionError(
                f"{python} does not fit what the project names: "
                f"requires-python = {requires_python(self.project)!r}"
            )

    def wanted(self) -> list[str]:
        """What `uv pip install` is to install, as its arguments."""
        options = self.options
        if self.project is None:
            return ["--no-config", *options.packages]
        names = [word for name in options.extras for word in ("--extra", name)]
        groups = [word for name in options.groups for word in ("--group", name)]
        if not (self.project / "uv.lock").exists():
            return ["-r", str(self.project / "pyproject.toml"), *names, *groups]
        exported = self.scratch / "exported.txt"
        locked = ["--frozen", "--no-default-groups", "--no-emit-project", "--quiet"]
        self.run("export", *locked, *names, *groups, "--output-file", str(exported))
        return ["-r", str(exported)]

    def run(self, *arguments: str) -> None:
        # Relative paths, and settings in a pyproject.toml, belong to its folder.
        cwd = self.project or self.options.folder or self.scratch
        run([self.uv, *arguments], self.environment, cwd, each_line=tell_step)


def pinned_python(project: Path) -> str | None:
    """The first version that a `.python-version` names, which uv follows before all else."""
    try:
        lines = (project / ".python-version").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return next((line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#"), None)


def requires_python(project: Path) -> str | None:
    """For messages, and for a download; uv itself reads it to find one. No tomllib before 3.11."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r"""^\s*requires-python\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
    return match[1] if match else None


def parse(arguments: list[str]) -> Options:
    known = parser(__file__, __doc__)
    known.add_argument("--base", type=absolute, required=True)
    known.add_argument("--id", required=True)
    known.add_argument("--project", type=absolute)
    known.add_argument("--pyproject")
    known.add_argument("--requirement", dest="requirements", action="append", default=[])
    known.add_argument("--requirements-file", type=absolute)
    known.add_argument("--extra", dest="extras", action="append", default=[])
    known.add_argument("--group", dest="groups", action="append", default=[])
    known.add_argument("--python")
    known.add_argument("--no-downloads", dest="downloads", action="store_false")
    return Options(**vars(known.parse_args(arguments)))


def main(arguments: list[str]) -> int:
    options = parse(arguments)

    def task() -> None:
        print(f"ready: {ensure(options)}", flush=True)

    wanted = options.python or options.folder or "pyproject.toml"
    failed = f"cannot build the environment {options.final} (for {wanted})"
    return finish(__file__, arguments, task, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

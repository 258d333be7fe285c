"""Wheels without pip: which of a folder fit this interpreter, checked and unpacked.

A wheel is a zip archive named
``{name}-{version}[-{build}]-{python tags}-{abi tags}-{platform tags}.whl``
(Python packaging's "Binary distribution format" and "Platform compatibility tags").
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import sysconfig
import zipfile
from pathlib import Path

# Platform tags older than the ones that name a glibc version (PEP 600).
_LEGACY = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}


class WheelError(Exception):
    """The folder lacks a wheel that is in the lock file and fits."""


def locked_versions(lock: str) -> dict[str, set[str]]:
    """The versions that a lock file allows, by package name."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
        versions.setdefault(name.lower(), set()).add(version)
    return versions


def unpack(wheels: Path, lock: str, folder: Path) -> None:
    """Unpacks the newest fitting wheel of each locked package into a folder.

    Raises:
        WheelError: a package has no wheel here that fits and whose hash is locked.
    """
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    for name in locked_versions(lock):
        fitting = [
            wheel
            for wheel in wheels.glob("*.whl")
            if wheel.name.partition("-")[0].lower() == name and fits(wheel.name)
        ]
        # Markers need no evaluation: a version not meant for this Python has no wheel for it.
        for wheel in sorted(fitting, key=_version, reverse=True):
            content = wheel.read_bytes()
            if hashlib.sha256(content).hexdigest() in hashes:
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)
                break
        else:
            raise WheelError(f"no wheel of {name} in {wheels} is locked and fits this Python")


def fits(file_name: str) -> bool:
    """Whether a wheel is for this interpreter and platform, judged by its name."""
    python, abi, where = file_name[: -len(".whl")].split("-")[-3:]
    return any(_fits_python(p, a) for p in python.split(".") for a in abi.split(".")) and any(
        _fits_platform(tag) for tag in where.split(".")
    )


def _version(wheel: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", wheel.name.split("-")[1])]


def _fits_python(python: str, abi: str) -> bool:
    if abi == "none":
        return python == "py3"
    if sys.implementation.name != "cpython":
        return False
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    if abi == "abi3":
        match = re.fullmatch(r"cp3(\d+)", python)
        return bool(match and int(match[1]) <= sys.version_info[1] and not free_threaded)
    return python == own and abi == own + ("t" if free_threaded else "")


def _fits_platform(tag: str) -> bool:
    for old, new in _LEGACY.items():
        tag = tag.replace(f"{old}_", f"manylinux_{new}_")
    match = re.fullmatch(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_(\w+)", tag)
    if match is None:
        return tag == "any"
    system, version = _system()
    machines = {platform.machine(), "universal2"}
    return match[1] == system and (int(match[2]), int(match[3])) <= version and match[4] in machines


def _system() -> tuple[str, tuple[int, int]]:
    if sys.platform == "darwin":
        major, minor = [*platform.mac_ver()[0].split("."), "0"][:2]
        return "macosx", (int(major), int(minor))
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except ValueError:
        glibc = ""
    match = re.search(r"(\d+)\.(\d+)", glibc)
    # musl has no way to ask; 1.2 is what wheels are built for.
    return ("manylinux", (int(match[1]), int(match[2]))) if match else ("musllinux", (1, 2))

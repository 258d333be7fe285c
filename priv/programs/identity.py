"""Prints what a virtual environment must find again in the place of its interpreter."""

import os
import sys

print(
    sys.implementation.name,
    "{}.{}".format(*sys.version_info[:2]),
    getattr(sys, "abiflags", ""),
    os.uname().machine,
)

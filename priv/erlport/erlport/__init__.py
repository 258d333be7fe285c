"""The Python side of ErlPort's API, for instances of ``ErlangPython.ErlPort``.

Only the workers of such an instance have this package on ``sys.path``.
"""

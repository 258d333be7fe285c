class Interrupted(KeyboardInterrupt):
    """Raised in the code of a request that Elixir stops: a timeout, a cancel, a dead caller.

    A subclass of ``KeyboardInterrupt``, so that ``except Exception`` lets it pass.
    """

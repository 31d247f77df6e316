"""The command `flowdeps`."""

from flowdeps.cli.main import main

__all__ = ["main"]

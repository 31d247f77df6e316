"""Locks made by uv as a child process: `Resolver`, its `Limits`, and how it fails.

``resolve`` plans and merges, ``command`` says how uv is called, ``places`` where it caches and what
it learns of an image, ``child`` runs it confined, ``explain`` turns its complaints into errors, to
which ``advice`` adds the ways out. Only wheels' metadata are read: no code of a package runs here.
"""

from flowdeps.resolver.child import Limits
from flowdeps.resolver.errors import (
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.resolve import Resolution, Resolver

__all__ = [
    "IndexUnauthorizedError",
    "IndexUnavailableError",
    "LimitExceededError",
    "Limits",
    "Resolution",
    "ResolveError",
    "Resolver",
    "ResolverError",
    "UnsatisfiableError",
]

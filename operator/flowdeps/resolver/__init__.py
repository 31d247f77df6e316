"""Locks made by uv as a child process: `Resolver`, its `Limits`, and how it fails.

``resolve`` asks for one platform after the other and merges the answers, ``command`` says how uv is
called, ``directories`` where it caches and what it learns of an image, ``child`` runs it confined,
``failures`` turns what it complains of into errors, and ``advice`` adds what to do. Only the
metadata of wheels are read: no code of a package runs here.
"""

"""Locks made by uv as a child process: `Resolver`, its `Limits`, and how it fails.

Only the metadata of wheels are read: no code of a package runs here.
"""

"""Kubernetes: the few requests that the operator makes.

Bodies are plain JSON mappings. What we write is applied server-side under one field manager, so
each write says only what we own. Writes to sets carry the set's uid: one that was deleted and made
anew meanwhile is never touched by mistake.
"""

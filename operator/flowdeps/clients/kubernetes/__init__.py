"""Kubernetes: the few requests that the operator makes.

Bodies go in and come out as plain JSON mappings. What we write is applied
server-side under one field manager, so that each write says only what we own,
and applying the same again changes nothing. Writes to sets carry the set's uid:
a set that was deleted and made anew meanwhile is never touched by mistake.
"""

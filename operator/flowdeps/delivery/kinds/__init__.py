"""Kinds of work pools, a folder each."""

"""Environments as artifacts of a registry: packed, described and pushed, in the operator's image.

`flowdeps pack` runs here, beside a tree that a flow's image has made and with credentials that the
flow's image never sees: nothing in the tree is run, imported or followed.
"""

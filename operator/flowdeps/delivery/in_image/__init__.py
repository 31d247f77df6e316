"""The scripts that run in the flow's image, and the parts that they share.

``flowdeps.delivery.scripts`` joins each script with its parts to one text, which a container's
command carries; that of ``install`` holds ``boot``, with which each interpreter of a run begins.
They run with the image's own Python, 3.9 or newer, and the standard library alone, as any user, on
a root file system that may be read-only. Of the operator, the resolver alone uses one: it describes
an image's packages to uv by ``stub``, as a run does.
"""

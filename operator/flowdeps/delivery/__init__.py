"""How a lock reaches a run: what we add to the base job template of a Prefect work pool. Pure.

``choice`` is the job variable by which a run chooses, and our marker: the same everywhere.
``methods`` say what a run needs to get what it chose; ``kinds`` put that into a template of their
kind of pool, and take it out again. ``in_image`` holds no modules of the operator but the scripts
that run in a flow's image; ``scripts`` makes a text of each.
"""

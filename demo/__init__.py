"""The way through, for real: `make demo`.

``story`` is what is shown, step by step, on a ``stage``: a cluster, Prefect, a pool and the
operator. There are three: ``node`` (a cluster of its own with real pods; root), ``here`` (a real
control plane, the run's steps as local processes; no root) and ``current`` (the cluster and the
Prefect API that the person uses).
"""

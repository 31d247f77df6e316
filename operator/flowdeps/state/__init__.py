"""What is, and what should be. Pure: values in, values out; others make the writes.

`store` is what the cluster and Prefect have. `locations` says where a lock is published and who has
a location, `records` which lock is in service, `config_maps` what should be there, `fragments` what
a pool's template should carry. `reported` is all that may be read from a status.
"""

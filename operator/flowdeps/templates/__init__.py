"""Our fragment of a Prefect base job template: merge, remove, find. Pure."""

"""Prefect, by its own client."""

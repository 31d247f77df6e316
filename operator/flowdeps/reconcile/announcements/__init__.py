"""Tells Prefect of locks: a page for each key of a pool, and events."""

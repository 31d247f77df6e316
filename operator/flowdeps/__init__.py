"""Pinned, hashed Python dependencies for Prefect flows on Kubernetes."""

__version__ = "0.1.0"

"""Gathers everything that goes into a set's lock: sources, credentials, the image."""

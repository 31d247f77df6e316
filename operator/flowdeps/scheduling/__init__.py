"""A queue, single flight and polling: generic."""

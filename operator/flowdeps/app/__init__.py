"""The running process: its loops, its assembly, kopf's events in, health, cleanup."""

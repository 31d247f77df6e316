"""The resource, its status and the configuration as values."""

"""The resource's schema in a real API server."""

"""What is done for one work pool."""

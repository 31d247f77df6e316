"""What stands outside a set and goes into its lock: sources, credentials."""

"""What docs/ ships is held to a real cluster."""

"""What is done for one set, a step a module."""

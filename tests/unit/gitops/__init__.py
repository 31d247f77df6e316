"""What tools that deliver from Git see of a set, and the checks before a merge."""

"""What flowdeps costs, measured in pairs: ``python -m tests.bench``."""

"""What tests of the operator share: running it, writing sets, waiting for what must come."""

"""Methods of delivery: how the lock that a run chooses reaches it."""

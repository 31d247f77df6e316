"""Methods of delivery: how a chosen lock reaches a run."""

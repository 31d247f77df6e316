"""What is done for one namespace of runs: which of them get ready environments."""

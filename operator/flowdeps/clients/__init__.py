"""The outside systems, a folder each, and the fence that stands before writes."""

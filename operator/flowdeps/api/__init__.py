"""The resource and the operator's configuration as Python values. Pure."""

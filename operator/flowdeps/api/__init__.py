"""The resource and the operator's configuration as Python values. Pure.

resource    a FlowDependencySet: names, metadata, spec
status      its status; conditions and reasons have modules of their own
config      the operator's configuration file
fields      how documents are read; problems is what is wrong with them
"""

"""The resource and the operator's configuration as Python values. Pure.

resource    a FlowDependencySet: names, metadata, spec (its values: spec; its parts: parts)
rules       what a single text of it may be
status      its status (its parts: statusparts); conditions and reasons have modules of their own
config      the operator's configuration file (its parts: poolconfig, trialconfig, allowed)
fields      how documents are read; problems is what is wrong with them
"""

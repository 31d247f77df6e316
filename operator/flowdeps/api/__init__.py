"""The resource and the operator's configuration as Python values. Pure.

names       what flowdeps calls things in a cluster
resource    a FlowDependencySet: metadata, spec (its values: spec; its parts: parts)
rules       what a single text of it may be
status      its status (beside it: conditions)
reasons     why a condition is as it is, and what to do (beside them: events, outcome)
wording     how messages count, list and cut
config      the operator's configuration file (its parts: poolconfig, trialconfig, allowed)
fields      how documents are read; problems is what is wrong with them
"""

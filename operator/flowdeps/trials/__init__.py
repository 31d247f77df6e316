"""Pods of ours in a flow image: what it has (`images`), whether a lock works there (`verify`)."""

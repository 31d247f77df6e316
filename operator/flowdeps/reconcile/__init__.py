"""The passes: look at what is, make what is missing, say how it went."""

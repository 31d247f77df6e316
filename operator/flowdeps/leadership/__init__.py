"""One active operator of several."""

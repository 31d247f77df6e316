"""Takes out all that flowdeps has made."""

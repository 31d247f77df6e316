"""The README's first command."""

"""Brings sets and pools in line: compares, writes what is missing, reports how it went."""

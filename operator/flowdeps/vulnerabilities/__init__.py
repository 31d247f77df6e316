"""The database of known vulnerabilities: from files or a URL into memory."""

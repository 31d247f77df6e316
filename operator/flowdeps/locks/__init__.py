"""Requirements, targets and locks as values. Pure: no files, no network, no clock."""

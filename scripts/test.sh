#!/bin/sh
# Runs every test. What pods need is built first, with progress, so that no test waits for it in
# silence; without root the tests that need pods are skipped, and pytest names them.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then
    level=node
else
    level=control-plane
    echo "test: not root: tests that need a node with pods are skipped" >&2
fi
echo "test: building what the tests need, or finding it in the cache" >&2
.venv/bin/python -m tests.cluster build --level $level
if [ $# -gt 0 ]; then
    exec .venv/bin/python -m pytest "$@"
fi
exec .venv/bin/python -m tests.suites

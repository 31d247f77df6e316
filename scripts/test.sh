#!/bin/sh
# Runs every test. What pods need is built first, with progress, so that no test waits for it in
# silence; without root the tests that need pods are skipped, and pytest names them.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python

if [ "$(id -u)" = 0 ]; then
    level=node
else
    level=control-plane
    echo "test: not root: tests that need a node with pods are skipped" >&2
fi
echo "test: building what the tests need, or finding it in the cache" >&2
$python -m tests.cluster build --level $level
echo "test: running unit, property, integration and e2e tests" >&2
exec $python -m pytest --durations=10 "$@"

#!/bin/sh
# Runs every test. What pods need is built first, with progress, so that no test waits for it in
# silence; without root the tests that need pods are skipped, and pytest names them.
set -eu
cd "$(dirname "$0")/.."
# A shell lets what it starts in the background ignore SIGINT; tests of interrupts need it.
heeding='import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
# It takes the place of the shell that calls it.
pytest() { exec .venv/bin/python -c "$heeding" -m pytest --durations=10 "$@"; }

if [ "$(id -u)" = 0 ]; then
    level=node
else
    level=control-plane
    echo "test: not root: tests that need a node with pods are skipped" >&2
fi
echo "test: building what the tests need, or finding it in the cache" >&2
.venv/bin/python -m tests.cluster build --level $level
if [ $level = control-plane ] || [ $# -gt 0 ]; then
    pytest "$@"
fi

# Tests of pods mostly wait for pods, so the others run beside them.
echo "test: running e2e tests, whose output comes last, and beside them all others" >&2
output=$(mktemp)
pytest tests/e2e > "$output" 2>&1 &
pods=$!
trap 'kill $pods; wait $pods; cat "$output"; rm -f "$output"; exit 130' INT TERM
status=0
(pytest --ignore tests/e2e) || status=$?
echo "test: waiting for the e2e tests" >&2
wait $pods || status=$?
cat "$output"
rm -f "$output"
exit $status

#!/bin/sh
# Plays faults, histories and bad texts, as many as HISTORIES says. SEED decides which.
set -eu
cd "$(dirname "$0")/.."

SEED="${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
export FLOWDEPS_HISTORIES="${HISTORIES:-10000}"
echo "faults: to play the same again: make faults SEED=$SEED HISTORIES=$FLOWDEPS_HISTORIES" >&2
exec .venv/bin/python -m pytest -n 2 --dist worksteal --hypothesis-profile=faults \
    --hypothesis-seed="$SEED" --hypothesis-show-statistics \
    tests/unit/reconcile/test_faults.py tests/unit/reconcile/test_histories.py \
    tests/unit/reconcile/test_sequences.py tests/unit/reconcile/test_load.py \
    tests/property tests/integration/service/test_kills.py \
    tests/integration/chart/test_server.py \
    "tests/integration/service/test_pools.py::test_many_sets_at_once_are_few_patches" "$@"

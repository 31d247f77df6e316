#!/bin/sh
# Compiles the hashed locks from what they are made of; uv must be on PATH.
# Options are passed on to uv pip compile, such as --upgrade.
set -eu
cd "$(dirname "$0")/.."

compile() {
    output=$1; shift
    echo "locks: $output" >&2
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --output-file "$output" "$@"
}

compile requirements/operator.txt "$@" pyproject.toml
compile requirements/build.txt "$@" -c requirements/operator.txt requirements/build.in
compile requirements/dev.txt "$@" --group dev -c requirements/operator.txt pyproject.toml
compile requirements/prefect.txt "$@" requirements/prefect.in
compile requirements/prefect-image.txt "$@" requirements/prefect-image.in
compile requirements/worker-oldest.txt "$@" --exclude-newer 2025-11-05 requirements/worker-oldest.in
compile requirements/worker-middle.txt "$@" --exclude-newer 2026-05-01 requirements/worker-middle.in

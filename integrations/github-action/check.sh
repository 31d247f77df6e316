#!/bin/sh
# Validates FILES. Resolves each set in LOCK, with LOCK_ARGUMENTS, as it is here and as it is in the
# commit BASE, and shows the difference. Patterns and words are split at spaces, as in a shell.
# Everything goes to GITHUB_STEP_SUMMARY, problems also to the log. Exit 1 if there is a problem.
set -eu

summary=${GITHUB_STEP_SUMMARY:-/dev/stdout}
work=$(mktemp -d)
failed=0

clean() {
    if [ -d "$work/base" ]; then git worktree remove --force "$work/base"; fi
    rm -rf "$work"
}
trap clean EXIT

title() { printf '### %s\n\n' "$1" >>"$summary"; }

block() { { echo '```text' && cat "$1" && printf '```\n\n'; } >>"$summary"; }

refuse() {
    failed=1
    block "$1"
    # A line that begins with :: would be a command for the runner.
    sed 's/^/| /' "$1"
}

# Runs here or, in a subshell, in the checkout of BASE; the paths are the same.
lock() {
    file=$1
    shift
    # shellcheck disable=SC2086
    flowdeps lock "$file" ${LOCK_ARGUMENTS:-} "$@"
}

title "Validation"
# shellcheck disable=SC2086
if flowdeps validate $FILES >"$work/problems" 2>"$work/notes"; then
    printf 'All sets are valid.\n\n' >>"$summary"
else
    sed -nE 's/^([^: ]+):([0-9]+): (.*)$/::error file=\1,line=\2::\3/p' "$work/problems"
    cat "$work/notes" >>"$work/problems"
    refuse "$work/problems"
fi

if [ -n "${BASE:-}" ]; then
    git worktree add --quiet --detach "$work/base" "$BASE"
fi

for set in ${LOCK:-}; do
    title "$set"
    rm -f "$work"/*.lock
    if [ -f "$work/base/$set" ]; then
        if ! (cd "$work/base" && lock "$set" --output "$work/old.lock") 2>"$work/log"; then
            printf 'The set has no lock on the base branch, so all pins are new.\n\n' >>"$summary"
        fi
    fi
    previous=""
    if [ -f "$work/old.lock" ]; then previous="--previous $work/old.lock"; fi
    # shellcheck disable=SC2086
    if ! lock "$set" $previous --output "$work/new.lock" 2>"$work/log"; then
        refuse "$work/log"
    elif [ -f "$work/old.lock" ]; then
        flowdeps diff "$work/old.lock" "$work/new.lock" >"$work/diff"
        block "$work/diff"
    else
        block "$work/new.lock"
    fi
done

exit "$failed"

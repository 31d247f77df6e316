#!/bin/sh
# Makes .venv from requirements/dev.txt (every file checked against its hash) and puts the checkout
# on its path. A stamp named by what it was made from makes the next call end at once.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=.venv

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! fits "$python"; then
    for other in python3.14 python3.13 python3.12 python3.11; do
        if fits "$other"; then python=$other; break; fi
    done
    fits "$python" || die "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.12"
fi

key=$({ cat requirements/dev.txt pyproject.toml scripts/setup.sh; "$python" -VV; pwd; } | sha256sum | cut -c1-16)
stamp=$venv/.setup-$key
[ -e "$stamp" ] && exit 0

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian keeps these apart.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $package"
        export DEBIAN_FRONTEND=noninteractive
        apt="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 -qq -y"
        $apt install "$package" >/dev/null 2>&1 ||
            { $apt update && $apt install "$package" >/dev/null; }
    else
        die "$python cannot make environments; as root, run: apt-get install $package"
    fi
fi

if [ -x $venv/bin/python ] &&
    [ "$($venv/bin/python -VV 2>&1)" != "$("$python" -VV)" ]; then
    say "$venv is of another Python; making it anew"
    rm -rf $venv
fi
rm -f $venv/.setup-*
[ -x $venv/bin/python ] || { say "making $venv with $("$python" -V)"; "$python" -m venv $venv; }
# uv makes environments without pip.
$venv/bin/python -m pip --version >/dev/null 2>&1 || $venv/bin/python -m ensurepip >/dev/null

# Else pip reports a conflict between the new pins and what the checkout required before.
$venv/bin/python -m pip uninstall --quiet --yes flowdeps >/dev/null 2>&1

say "installing $(grep -c == requirements/dev.txt) pinned packages; the first time takes a minute or two"
pip_install() { $venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
# uv takes a fraction of pip's time. It has no settings of pip's: where it finds no index, pip does.
awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements/dev.txt >$venv/.uv.txt
pip_install --require-hashes --requirement $venv/.uv.txt
$venv/bin/uv pip install --quiet --python $venv/bin/python --compile-bytecode \
    --require-hashes --requirement requirements/dev.txt ||
    pip_install --require-hashes --requirement requirements/dev.txt

# What builds it is among them: nothing is fetched.
pip_install --no-index --no-deps --no-build-isolation --editable .

touch "$stamp"
say "$venv is ready: $($venv/bin/flowdeps --version)"

#!/bin/sh
# Install what is missing and say so in one line each; quick when nothing is missing.
#
#   scripts/setup.sh           system packages, .venv, the package with its extras
#   scripts/setup.sh --ci      the same, and what only the full pipeline needs (browser, database server)
#
# System packages go through apt, as root or with sudo. Without either, or away from Debian, the script
# names what is missing and goes on: then there is no PC/SC, and readers run in process.
set -eu
cd "$(dirname "$0")/.."

RUNTIME="pcscd vsmartcard-vpcd fonts-noto-cjk"
BUILD="swig gcc libc6-dev libpcsclite-dev pkg-config python3-dev python3-venv"
CI_ONLY="pcsc-tools opensc chromium postgresql vsmartcard-vpicc softhsm2"

say() { printf 'setup: %s\n' "$*"; }

missing_packages() {
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || printf '%s ' "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

wanted="$RUNTIME $BUILD"
[ "${1:-}" = "--ci" ] && wanted="$wanted $CI_ONLY"
pcsc=yes
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086
    missing=$(missing_packages $wanted)
    if [ -n "$missing" ]; then
        if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
            say "installing system packages: $missing"
            as_root apt-get update -qq
            # shellcheck disable=SC2086
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
        else
            say "not root: please run   apt-get install $missing"
            # shellcheck disable=SC2086
            [ -z "$(missing_packages swig gcc libpcsclite-dev pkg-config)" ] || pcsc=no
        fi
    fi
else
    say "not a Debian system: please install by hand pcscd, vsmartcard-vpcd, swig, a C compiler,"
    say "the PC/SC headers (libpcsclite-dev) and the Noto Sans CJK fonts"
    command -v swig >/dev/null && pkg-config --exists libpcsclite 2>/dev/null || pcsc=no
fi
[ "$(id -u)" = 0 ] && mkdir -p -m 755 /run/pcscd

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed"; exit 2; }
if [ ! -x .venv/bin/python ]; then
    say "creating .venv"
    "$PYTHON" -m venv .venv
fi

extras=dev
[ "$pcsc" = yes ] && extras=dev,pcsc
stamp=.venv/.installed-$(cat pyproject.toml requirements.lock | cksum | cut -d' ' -f1)-$extras
if [ ! -f "$stamp" ]; then
    say "installing the Python packages of requirements.lock and citycard itself (extras: $extras)"
    if [ "$pcsc" = yes ]; then
        .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
    else
        grep -v '^pyscard==' requirements.lock >.venv/requirements-without-pcsc.txt
        .venv/bin/python -m pip install -q --disable-pip-version-check -r .venv/requirements-without-pcsc.txt
        say "without pyscard: readers will run in process"
    fi
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    rm -f .venv/.installed-*
    touch "$stamp"
fi
say "ready"

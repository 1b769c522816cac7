#!/bin/sh
# Makes sure that the browser tests have a Chromium: one on PATH, else Debian's, else Playwright's own.
# usage: ensure-chromium.sh PYTHON
set -u
python=${1:?usage: ensure-chromium.sh PYTHON}

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done

browser_there() {
    "$python" -c '
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    sys.exit(not pathlib.Path(p.chromium.executable_path).exists())' >/dev/null 2>&1
}
browser_there && exit 0

as_root=
can_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null && as_root="sudo -n"
}

if command -v apt-get >/dev/null 2>&1 && can_be_root; then
    echo "browser tests: installing chromium with apt-get" >&2
    # shellcheck disable=SC2086  # empty where this is root already
    if $as_root apt-get update >/dev/null &&
        $as_root apt-get install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; then
        exit 0
    fi
fi

echo "browser tests: installing Playwright's Chromium" >&2
"$python" -m playwright install chromium && exit 0

echo "browser tests need a Chromium: install the package 'chromium' (or Google Chrome) so that it is on PATH" >&2
exit 1

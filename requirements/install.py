"""Installs into the environment that runs this: `python requirements/install.py ARGUMENTS OF PIP INSTALL`.

uv does in half a minute what takes pip three. It is taken from dev.txt, with its hash, and given the index, the folders and the
certificates that pip is configured for. Where it does not get through, pip does the work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKED = Path(__file__).with_name("dev.txt")
PIP = (sys.executable, "-m", "pip")
SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration, the last word last."""


def settings_of_pip() -> dict[str, str]:
    """Returns what pip is configured for, by the name of the option."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    settings = [re.fullmatch(r"(.+)\.([^.]+?)='(.*)'", line) for line in listed.splitlines()]
    return {
        setting[2]: setting[3].replace(r"\n", " ")
        for section in SECTIONS
        for setting in settings
        if setting and setting[1] == section
    }


def environment_of_uv() -> dict[str, str]:
    """Returns the environment that has uv look where pip does."""
    pip = settings_of_pip()

    def joined(option: str, separator: str = " ") -> str:
        return separator.join(pip.get(option, "").split())

    chosen = {
        "UV_DEFAULT_INDEX": joined("index-url"),
        "UV_INDEX": joined("extra-index-url"),
        "UV_FIND_LINKS": joined("find-links", ","),
        "UV_INSECURE_HOST": joined("trusted-host"),
        "UV_NO_INDEX": joined("no-index"),
        "UV_HTTP_TIMEOUT": joined("default-timeout") or joined("timeout"),
        "SSL_CERT_FILE": joined("cert"),
        "ALL_PROXY": joined("proxy"),
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # pip's; the hashes say what is right, whatever the index
    }
    return {**{name: value for name, value in chosen.items() if value}, **os.environ}


def install_uv() -> None:
    """Installs the locked uv."""
    locked = re.search(r"^uv==.*(\n .*)*", LOCKED.read_text(), re.MULTILINE)
    if not locked:
        raise ValueError(f"{LOCKED} locks no uv")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "uv.txt")
        requirements.write_text(locked[0])
        subprocess.run([*PIP, "install", "--quiet", "--require-hashes", "-r", str(requirements)], check=True)


def main() -> int:
    """Installs; returns the exit status."""
    arguments = sys.argv[1:]
    try:
        install_uv()
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode"]
        subprocess.run([*uv, *arguments], env=environment_of_uv(), check=True)
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"uv did not get through, so pip goes on: {error}", file=sys.stderr)
        return subprocess.run([*PIP, "install", "--quiet", *arguments], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())

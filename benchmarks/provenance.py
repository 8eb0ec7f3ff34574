"""Where figures come from: date, commit, versions, machine. Without these a figure means nothing."""

import datetime as dt
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from tests.support import machine
from tests.support.haproxy import VERSIONS

ROOT = Path(__file__).parents[1]


def today() -> str:
    """Return the day, in the names of result files."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit(*paths: str) -> str:
    """Name the checked out commit, and say whether what lies in `paths` differs from it."""
    found = said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], r"(\w+)")
    status = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *paths]
    return found + (", with uncommitted changes" if said(status, r"(.)") else "")


def python() -> str:
    return platform.python_version()


def packages(*names: str) -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def haproxy(version: str) -> str:
    """Return the whole version of the HAProxy that stands for "2.6"; "" when it is missing."""
    try:
        return said([machine.haproxy_binary(version), "-v"], r"version (\S+)")
    except machine.Missing:
        return ""


def haproxies() -> str:
    return ", ".join(filter(None, map(haproxy, VERSIONS)))


def consul() -> str:
    try:
        return said([machine.consul_binary(), "version"], r"v(\S+)")
    except machine.Missing:
        return ""


def computer() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = found[1] if found else platform.machine()
    release = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {release}"


def load() -> str:
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def said(argv: list[str], pattern: str) -> str:
    """Run a command; return the pattern's first group in its output, or ""."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout)
    return found[1] if found else ""

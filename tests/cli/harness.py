# SPDX-License-Identifier: MIT
"""What the tests of the viommu command share: running it, and complaining."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

SKIPPED = 77
PATIENCE = 60  # seconds; machines that test are busy

failures = []


def complain(what, *lines):
    failures.append(what)
    print(f"FAIL - {what}", *lines, sep="\n    ")


def passed(what):
    print(f"ok - {what}")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def run(command):
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE
    )


def check_refusal(command, shown, words, code):
    """Exit code, silence on stdout, one line on stderr, which has all the words and says who speaks."""
    ended = run(command)
    lines = ended.stderr.splitlines()
    faults = []
    if ended.returncode != code:
        faults.append(f"exit code {ended.returncode}, not {code}")
    if ended.stdout:
        faults.append(f"on stdout: {ended.stdout[:200]!r}")
    if len(lines) != 1:
        faults.append(f"{len(lines)} lines on stderr, not one")
    if not ended.stderr.startswith("viommu"):
        faults.append("the line does not say who speaks")
    faults += [f"no {word!r}" for word in words if word not in ended.stderr]
    if faults:
        complain(shown, *faults, "stderr: " + ended.stderr.strip())
    else:
        passed(shown)


def without_privileges():
    """What must stand before a command so that root, too, cannot read what the mode forbids; None: not to be had."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    capabilities = "-dac_override,-dac_read_search"
    return [setpriv, f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"] if setpriv else None


def names_in(value):
    """The names of all members, but of what is derived from registers."""
    if isinstance(value, list):
        return {name for member in value for name in names_in(member)}
    if not isinstance(value, dict):
        return set()
    inner = [names_in(member) for name, member in value.items() if name != "abilities"]
    return set(value).union(*inner)


def check_documented(result, least):
    """docs/host-profile.md names each member of this JSON, of which there are so many names at least."""
    schema = (pathlib.Path(__file__).parents[2] / "docs/host-profile.md").read_text()
    names = sorted(names_in(result))
    missing = [name for name in names if not re.search(rf"[`.]{name}[`.[]", schema)]
    what = f"docs/host-profile.md describes each member of {result['schema']}"
    if missing or len(names) < least:
        complain(what, f"it lacks {missing} of {len(names)} names")
    else:
        passed(what)


def report():
    """The end of a test program."""
    print(f"{len(failures)} failed")
    sys.exit(1 if failures else 0)

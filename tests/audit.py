"""`make check`: ask about known holes in what we depend on.

Fails for a hole. Where no index answers questions about holes, nothing is known: that
is said aloud and is no failure, since a machine without the Internet has to pass.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FILES = ("requirements/prod.txt", "requirements/dev.txt")
WORDS = ("--require-hashes", "--disable-pip", "--format", "json", "--timeout", "10")


def main() -> int:
    """Ask about each file; return 1 if anything has a known hole."""
    return max([_audit(path) for path in FILES])


def _audit(path: str) -> int:
    command = [str(Path(sys.executable).with_name("pip-audit")), "-r", path, *WORDS]
    command += ["--progress-spinner", "off"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _say_unknown(path, ran.stderr.strip().splitlines()[-1:])
    return judge(path, found)


def judge(path: str, found: list[dict[str, Any]]) -> int:
    """Say what was found in one file; return 1 for a hole."""
    holes = [
        f"{each['name']} {each['version']}: {hole['id']} {hole.get('fix_versions')}"
        for each in found
        for hole in each.get("vulns", ())
    ]
    skipped = sum("skip_reason" in each for each in found)
    if skipped == len(found):
        return _say_unknown(path, ["the index knows none of these packages"])
    if skipped:
        _say(f"pip-audit: {skipped} of {len(found)} packages of {path} NOT AUDITED")
    for hole in holes:
        _say(f"pip-audit: {path}: {hole}")
    return 1 if holes else 0


def _say_unknown(path: str, why: list[str]) -> int:
    _say(f"WARNING: {path} is NOT AUDITED for known holes: {' '.join(why)}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())

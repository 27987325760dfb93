"""schemathesis against the running server: does it keep to its own OpenAPI document?

CONFORMANCE_SECONDS (300) and FUZZ_SEED (1) come from the environment. The key goes by
the document's own security scheme, so that calls without it are tried as well.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

import django

from tests.fuzz import stand

# URL formats are checked by address, not by shape: a valid `uri` may be refused. And a
# revoked key or an erased job is still there to be read, as what it is now.
LEFT_OUT = "positive_data_acceptance,use_after_free"
CONFIG = """\
hooks = "tests.fuzz.serializers"

[auth.openapi.ApiKey]
bearer = "{key}"
"""


def main() -> int:
    """Run it, and return its exit code."""
    seconds = os.environ.get("CONFORMANCE_SECONDS") or "300"
    seed = os.environ.get("FUZZ_SEED") or "1"
    with stand.prepared() as standing:
        django.setup()
        logging.getLogger().setLevel(logging.WARNING)
        from tests.fuzz import rows  # noqa: PLC0415  Django is set up by now

        _tenant, keys, _jobs = rows.make_rows()
        config = standing.folder / "schemathesis.toml"
        config.write_text(CONFIG.format(key=keys[0]))
        with stand.serving(standing, "wsgi"):
            url = f"http://127.0.0.1:{standing.ports['wsgi']}"
            code = _check(url, config, seconds=seconds, seed=seed)
        bad = standing.bad_lines()
        sys.stdout.writelines(f"  BROKEN {line}\n" for line in bad)
        return code or bool(bad)


def _check(url: str, config: Path, *, seconds: str, seed: str) -> int:
    words = [
        "--config-file",
        str(config),
        "run",
        f"{url}/v1/openapi.json",
        "--url",
        url,
    ]
    words += ["--exclude-checks", LEFT_OUT, "--seed", seed, "--max-time", seconds]
    words += ["--workers", "1", "--request-timeout", "20", "--warnings", "off"]
    command = Path(sys.executable).with_name("schemathesis")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([command, *words], check=False, cwd=config.parent, env=env)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

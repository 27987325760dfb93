"""schemathesis against the running server: does it keep to its own OpenAPI document?

The key goes by the document's own security scheme, so that calls without it are tried
as well.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.stand import Stand

# A revoked key or an erased job is still there to be read, as what it is now.
LEFT_OUT = "use_after_free"
CONFIG = """\
hooks = "tests.fuzz.schemathesis_hooks"

[generation]
allow-x00 = false
codec = "utf-8"

# 410: an earlier request has erased it.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 410, 429]

# The fields of a form are text: it cannot be sent with a value of another type.
# tests.fuzz sends invalid JSON to these operations.
[[operations]]
include-path-regex = "^/v1/(jobs|transcribe|batches|batches/check)$"
checks.negative_data_rejection.enabled = false

# OpenAPI 3.1 cannot describe the events of a stream.
[[operations]]
include-path-regex = "/events$"
checks.response_schema_conformance.enabled = false

[auth.openapi.ApiKey]
bearer = "{key}"
"""


def find(stand: Stand, key: str, *, seconds: str, seed: int) -> list[str]:
    """Send requests for some seconds; schemathesis prints what it finds."""
    config = stand.folder / "schemathesis.toml"
    config.write_text(CONFIG.format(key=key))
    url = f"http://127.0.0.1:{stand.ports['asgi']}"
    words = [
        *("--config-file", str(config), "run", f"{url}/v1/openapi.json", "--url", url),
        *("--exclude-checks", LEFT_OUT, "--seed", str(seed), "--max-time", seconds),
        *("--workers", "1", "--request-timeout", "20", "--warnings", "off"),
    ]
    command = Path(sys.executable).with_name("schemathesis")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([command, *words], check=False, cwd=stand.folder, env=env)
    return [f"schemathesis ended with {done.returncode}"] if done.returncode else []

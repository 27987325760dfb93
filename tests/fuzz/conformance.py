"""schemathesis against the running server: does it keep to its own OpenAPI document?

The key goes by the document's own security scheme, so that calls without it are tried
as well.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.stand import Stand

# URL formats are checked by address, not by shape: a valid `uri` may be refused. And a
# revoked key or an erased job is still there to be read, as what it is now.
LEFT_OUT = "positive_data_acceptance,use_after_free"
CONFIG = """\
hooks = "tests.fuzz.serializers"

[auth.openapi.ApiKey]
bearer = "{key}"
"""


def find(stand: Stand, key: str, *, seconds: str, seed: int) -> list[str]:
    """Send requests for some seconds; schemathesis prints what it finds."""
    config = stand.folder / "schemathesis.toml"
    config.write_text(CONFIG.format(key=key))
    url = f"http://127.0.0.1:{stand.ports['wsgi']}"
    words = [
        *("--config-file", str(config), "run", f"{url}/v1/openapi.json", "--url", url),
        *("--exclude-checks", LEFT_OUT, "--seed", str(seed), "--max-time", seconds),
        *("--workers", "1", "--request-timeout", "20", "--warnings", "off"),
    ]
    command = Path(sys.executable).with_name("schemathesis")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([command, *words], check=False, cwd=stand.folder, env=env)
    return [f"schemathesis ended with {done.returncode}"] if done.returncode else []

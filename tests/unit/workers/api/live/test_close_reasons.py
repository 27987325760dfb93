"""The table of close reasons, and the code that names them."""

import re

from tests.support import ROOT
from workers.api.live import close_reasons

_NAME = re.compile(
    r'(?:\.close\(|close_from_thread\(|close_reason\(|name = )\s*"(\w+)"'
)
_CHOICE = re.compile(r'"(\w+)" if [\w. ]+ else "(\w+)"')


def test_the_code_names_each_reason_of_the_table_and_no_other():
    texts = [
        (ROOT / "workers" / "api" / "live" / path).read_text()
        for path in ("session.py", "registry.py", "upstream/connection.py")
    ]

    named = {name for text in texts for name in _NAME.findall(text)}
    named |= {name for text in texts for pair in _CHOICE.findall(text) for name in pair}

    assert named == set(close_reasons._TABLES)


def test_a_reason_has_its_values_in_its_detail():
    reason = close_reasons.close_reason("idle", seconds=10.0)

    assert reason.reason == "idle"
    assert reason.code == 4408
    assert reason.error_code == "stream_idle"
    assert reason.detail == "The client sent nothing for 10 s."

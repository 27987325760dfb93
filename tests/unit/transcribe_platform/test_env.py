import pytest
from django.core.exceptions import ImproperlyConfigured

from transcribe_platform.env import env_ports


@pytest.mark.parametrize(
    ("text", "ports"),
    [("0", []), ("", []), ("9464", [9464]), ("9464-9466", [9464, 9465, 9466])],
)
def test_ports_are_one_a_range_or_none(monkeypatch, text, ports):
    monkeypatch.setenv("METRICS_PORT", text)

    assert list(env_ports("METRICS_PORT")) == ports


@pytest.mark.parametrize("text", ["x", "9-8", "0-3", "65535-65536", "-1"])
def test_what_is_no_port_is_refused(monkeypatch, text):
    monkeypatch.setenv("METRICS_PORT", text)
    with pytest.raises(ImproperlyConfigured, match="METRICS_PORT"):
        env_ports("METRICS_PORT")

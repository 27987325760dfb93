import pytest

from jobs.telemetry import metrics


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        ("nova-3", "nova-3"),
        ("nova-3-medical", "nova-3"),
        ("nova-2-phonecall", "nova-2"),
        ("whisper-large", "whisper"),
        ("f3d2a0b1-my-own", "other"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_whatever_model_is_asked_for_the_label_is_one_of_the_price_list(asked, label):
    assert metrics.name_model(asked) == label

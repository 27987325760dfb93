import base64
import io
import sys
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from django.core.management import CommandError, call_command

from workers.webhooks.messages import signing

# The vector that Standard Webhooks' own libraries are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

NOW = datetime.now(UTC)


def signed(
    body: bytes = BODY, *secrets: str, at: datetime | None = None
) -> dict[str, str]:
    return signing.sign(
        message_id=MESSAGE_ID,
        at=at or datetime.now(UTC),
        body=body,
        secrets=secrets or (SECRET,),
    )


def test_the_published_vector_is_reproduced():
    assert signed(at=SIGNED_AT) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize(
    "body", [BODY, b"{}", '{"text":"Grüße, 世界 🎉 \\u0000"}'.encode()]
)
def test_the_reference_library_accepts_what_we_sign(body):
    secret = signing.new_secret()

    standardwebhooks.Webhook(secret).verify(body, signed(body, secret))
    signing.verify(
        headers=signed(body, secret), body=body, secret=secret, now=datetime.now(UTC)
    )


def test_while_a_secret_is_rotated_both_the_old_and_the_new_verify():
    old, new = signing.new_secret(), signing.new_secret()
    headers = signed(BODY, new, old)

    for secret in (old, new):
        standardwebhooks.Webhook(secret).verify(BODY, headers)
        signing.verify(headers=headers, body=BODY, secret=secret, now=datetime.now(UTC))
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_secret_may_have_lost_its_padding():
    padded = "whsec_" + "QUJD" * 5 + "QQ=="

    bare = padded.rstrip("=")
    assert signed(BODY, padded, at=NOW) == signed(BODY, bare, at=NOW)


def test_a_new_secret_has_32_random_bytes():
    first, second = signing.new_secret(), signing.new_secret()

    assert first != second
    assert first.startswith("whsec_")
    assert len(signing._key(first)) == 32


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "msg_other"}, "no signature matches"),
        ({"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, "no signature matches"),
        ({"webhook-signature": "v1,AAAA v2,é"}, "no signature matches"),
        ({"webhook-timestamp": "soon"}, "not a whole number"),
        ({"webhook-timestamp": "9" * 5000}, "not a whole number"),
        ({"webhook-timestamp": "1614265330"}, "too old"),
        ({"webhook-timestamp": "99999999999"}, "too far in the future"),
        ({"webhook-signature": None}, "'webhook-signature' is missing"),
    ],
)
def test_a_changed_header_is_refused_and_the_reason_said(change, why):
    headers = {k: v for k, v in {**signed(at=NOW), **change}.items() if v is not None}

    with pytest.raises(signing.InvalidSignature, match=why):
        signing.verify(headers=headers, body=BODY, secret=SECRET, now=NOW)


@pytest.mark.parametrize("age", [299, -299])
def test_five_minutes_of_clock_difference_are_tolerated(age):
    now = NOW + timedelta(seconds=age)

    signing.verify(headers=signed(at=NOW), body=BODY, secret=SECRET, now=now)


def test_header_names_may_come_in_any_case_and_a_changed_body_is_refused():
    headers = {name.title(): value for name, value in signed().items()}

    signing.verify(headers=headers, body=BODY, secret=SECRET, now=datetime.now(UTC))
    with pytest.raises(signing.InvalidSignature):
        signing.verify(
            headers=headers, body=BODY + b" ", secret=SECRET, now=datetime.now(UTC)
        )


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!", "whsec_A", "é"])
def test_a_secret_that_is_none_is_refused(secret):
    with pytest.raises(signing.InvalidSignature, match="the secret is"):
        signed(BODY, secret)


def brought(number: int, *, padded: bool = True) -> str:
    encoded = base64.b64encode(bytes(range(number))).decode()
    return "whsec_" + (encoded if padded else encoded.rstrip("="))


@pytest.mark.parametrize("number", [24, 25, 26, 32, 64])
@pytest.mark.parametrize("padded", [True, False])
def test_a_customers_secret_of_24_to_64_bytes_fits_and_signs(number, padded):
    secret = brought(number, padded=padded)

    assert signing.is_valid_secret(secret)
    assert signed(BODY, secret, at=NOW) == signed(BODY, brought(number), at=NOW)


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "whsec_!!", "é", brought(23), brought(65)),
        brought(32).removeprefix("whsec_"),
        brought(32).replace("whsec_", "WHSEC_"),
        "whsec_" + brought(32),
        brought(25) + "=",  # padded too much
        brought(25).replace("=", "", 1),  # and too little
        brought(25, padded=False)[:-1] + "R",  # bits that no byte takes
        brought(32) + "\n",
        brought(32)[:20] + " " + brought(32)[20:],
        "whsec_" + "-_" * 20,
    ],
)
def test_what_readers_could_take_differently_does_not_fit(secret):
    assert not signing.is_valid_secret(secret)


# --- manage.py verify_webhook ---------------------------------------------------


def command(*arguments: str, headers: dict[str, str], secret: str = SECRET) -> str:
    out = io.StringIO()
    options = [
        f"--{name.removeprefix('webhook-')}={value}" for name, value in headers.items()
    ]
    call_command(
        "verify_webhook", *arguments, *options, f"--secret={secret}", stdout=out
    )
    return out.getvalue()


def test_the_command_says_ok_for_a_file_and_for_standard_input(tmp_path, monkeypatch):
    file = tmp_path / "body"
    file.write_bytes(BODY)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY)))

    assert command(str(file), headers=signed()) == "ok\n"
    assert command(headers=signed()) == "ok\n"


def test_the_command_says_why_not_and_fails(tmp_path):
    file = tmp_path / "body"
    file.write_bytes(BODY + b"\n")

    with pytest.raises(CommandError, match="not valid: no signature matches") as caught:
        command(str(file), headers=signed())
    assert caught.value.returncode == 1
    with pytest.raises(CommandError, match="Give --secret, or set WEBHOOK_SECRET"):
        command(str(file), headers=signed(), secret="")

import pytest

from jobs.errors import InvalidRequest
from workers.webhooks.messages import custom_headers

BANNED = [
    *("host", "Host", "HOST", "connection", "Keep-Alive", "TE", "trailer", "upgrade"),
    *("transfer-encoding", "expect", "user-agent", "cookie", "accept-encoding"),
    *("accept", "content-type", "Content-Length", "content-x", "proxy-authorization"),
    *("Proxy-Anything", "webhook-id", "Webhook-Signature", "webhook-anything"),
    *("x-amz-security-token", "X-Goog-Api-Client", "x-google-secret"),
    *("Metadata-Flavor", "metadata", "webhook_id", "User_Agent", "Transfer_Encoding"),
]


@pytest.mark.parametrize("name", BANNED)
def test_what_is_ours_to_set_is_refused(name):
    with pytest.raises(InvalidRequest) as caught:
        custom_headers.check_headers({"X-Fine": "1", name: "1"}, pointer="/headers")

    assert (caught.value.code, caught.value.pointer) == (
        "header_not_allowed",
        f"/headers/{name}",
    )


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Api-Key", "x-webhook-id", "contents", "metadata-x", "hosts"],
)
def test_others_are_kept_as_they_are_written(name):
    given = {name: "Bearer a b!~"}

    assert custom_headers.check_headers(given, pointer="/headers") == given


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "ä", "a\n", "a\r\nHost: x", "(a)", "x" * 101]
)
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(InvalidRequest) as caught:
        custom_headers.check_headers({name: "1"}, pointer="/headers")

    assert caught.value.code == "header_invalid"


@pytest.mark.parametrize(
    "value",
    ["", " a", "a ", "a\tb", "a\nb", "a\r\nHost: x", "ä", "a\x7f", "x" * 4097, 1, None],
)
def test_a_value_that_readers_could_take_differently_is_refused(value):
    with pytest.raises(InvalidRequest) as caught:
        custom_headers.check_headers({"X-A": value}, pointer="/headers")

    assert (caught.value.code, caught.value.pointer) == (
        "header_invalid",
        "/headers/X-A",
    )


def test_ten_of_4096_bytes_are_taken_and_one_more_is_not():
    ten = {f"X-{number}": "x" * 4096 for number in range(10)}

    assert custom_headers.check_headers(ten, pointer="/headers") == ten
    with pytest.raises(InvalidRequest, match="At most 10"):
        custom_headers.check_headers({**ten, "X-A": "1"}, pointer="/headers")


def test_the_same_name_in_two_cases_is_refused():
    with pytest.raises(InvalidRequest, match="occurs twice"):
        custom_headers.check_headers({"X-A": "1", "x-a": "2"}, pointer="/headers")


def test_a_row_older_than_the_ban_list_overrides_nothing():
    ours = {"webhook-id": "msg_1"}

    sent = custom_headers.merge_headers(
        {"Webhook-Id": "x", "Host": "y", "X-A": "1"}, ours
    )

    assert sent == {"X-A": "1", "webhook-id": "msg_1"}

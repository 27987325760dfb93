from transcribe_platform.client.events import StreamEvent, _parse


def test_events_are_read_with_the_place_to_go_on_from():
    lines = (
        "id: 1-a",
        ": alive",
        "",
        "id: 2-b",
        "event: job.completed",
        'data: {"job_id":',
        'data: "7"}',
        "",
        "event: job.failed",
    )

    read = list(_parse(iter(lines), ""))

    assert read == [
        StreamEvent(id="1-a", type="", data={}),
        StreamEvent(id="2-b", type="job.completed", data={"job_id": "7"}),
    ]


def test_what_newer_servers_say_is_read_as_it_is():
    lines = ("id: 3-c", "colour: blue", "event: job.humming", 'data: {"new": [1]}', "")

    read = list(_parse(iter(lines), ""))

    assert read == [StreamEvent(id="3-c", type="job.humming", data={"new": [1]})]

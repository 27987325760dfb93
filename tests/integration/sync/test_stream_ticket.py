from datetime import timedelta

from django.utils import timezone

from jobs.accounts import tickets
from jobs.models import Job, StreamTicket


def test_a_stream_is_answered_with_a_socket_and_a_ticket(door, settings):
    settings.BASE_URL = "https://speech.example.com"

    answer = door.api.post(
        "/v1/transcribe", {"mode": "stream", "options": {"model": "nova-3"}}
    )

    assert answer.status_code == 201, answer.content
    body = answer.json()
    address = "wss://speech.example.com/v1/live?ticket="
    assert body["url"] == address + body["ticket"]
    assert body["route"]["mode"] == "stream"
    assert Job.objects.count() == 0
    row = StreamTicket.objects.get()
    assert (row.tenant, row.api_key) == (door.api.tenant, door.api.key)
    assert body["ticket"].encode() not in bytes(row.digest)


def make(door, at):
    draft = {"options": {}}
    tenant, key = door.api.tenant, door.api.key
    return tickets.create_ticket(tenant=tenant, api_key=key, draft=draft, now=at)


def test_a_ticket_opens_one_socket(door):
    now = timezone.now()
    ticket, text = make(door, now)

    used = tickets.redeem_ticket(text, now=now)

    assert used is not None
    assert (used.pk, used.tenant) == (ticket.pk, door.api.tenant)
    assert tickets.redeem_ticket(text, now=now) is None


def test_a_used_ticket_keeps_no_draft(door):
    now = timezone.now()
    draft = {"metadata": {"patient": "Jane Doe"}, "mode": "live"}
    _, text = tickets.create_ticket(
        tenant=door.api.tenant, api_key=door.api.key, draft=draft, now=now
    )

    used = tickets.redeem_ticket(text, now=now)

    assert used is not None
    assert used.draft == draft
    row = StreamTicket.objects.get()
    assert (row.draft, row.used_at) == ({}, now)


def test_a_ticket_is_worth_nothing_after_its_minute_or_made_up(door):
    now = timezone.now()
    _, text = make(door, now)

    assert tickets.redeem_ticket(text, now=now + timedelta(seconds=61)) is None
    assert tickets.redeem_ticket(text + "x", now=now) is None
    assert StreamTicket.objects.get().used_at is None


def test_old_tickets_are_forgotten(door):
    now = timezone.now()
    make(door, now - timedelta(days=1))
    make(door, now)

    assert tickets.purge_tickets(before=now) == 1
    assert StreamTicket.objects.count() == 1

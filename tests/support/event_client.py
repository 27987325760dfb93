"""A customer who follows event streams."""

from typing import Any

from django.test import Client

from tests.support.factories import make_key, make_tenant
from tests.support.sse import Stream


class EventClient:
    """A customer with a key, at a door; what it opens is closed after the test."""

    def __init__(self, door: Any) -> None:
        self.door = door
        self.tenant = make_tenant()
        self.key, self.text = make_key(self.tenant)
        self.opened: list[Stream] = []

    def other(self) -> "EventClient":
        """Return another customer, at the same door."""
        them = EventClient(self.door)
        them.opened = self.opened
        return them

    def follow(
        self, path: str = "/v1/events", *, last: str = "", method: str = "GET"
    ) -> Stream:
        headers = {"Last-Event-ID": last} if last else {}
        port = self.door.port
        stream = Stream(port, path, key=self.text, headers=headers, method=method)
        self.opened.append(stream)
        return stream

    def get(self, path: str) -> Any:
        """Ask over WSGI."""
        headers = {"Authorization": f"Bearer {self.text}"}
        return Client().get(path, headers=headers)

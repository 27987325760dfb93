"""The status line of a response, read before and without its header fields. Pure.

Receivers send header fields that are not valid HTTP; curl and Python's ``http.client``
accept the response by its status all the same.
"""

import re

_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])?[ \t]+([1-9][0-9]{2})(?:[ \t].*)?")
_MAX_LINE_BYTES = 64 * 1024
_SWITCHING_PROTOCOLS = 101  # ends HTTP on the connection
_FIRST_FINAL = 200


class StatusLine:
    """Finds the first final status in the bytes of a response, as they arrive.

    ``status`` is None until the whole line was received. Responses 1xx are skipped.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Expect the response to another request."""
        self.status: int | None = None
        self._rest = b""
        self._is_done = self._is_interim = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes; memory is limited, whatever arrives."""
        if self._is_done:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.removesuffix(b"\r"))
            if self._is_done:
                return
        self._is_done = len(self._rest) > _MAX_LINE_BYTES

    def _take(self, line: bytes) -> None:
        if self._is_interim:
            self._is_interim = bool(line)
        elif match := _LINE.fullmatch(line):
            status = int(match[1])
            self._is_interim = status < _FIRST_FINAL
            self._is_done = not self._is_interim or status == _SWITCHING_PROTOCOLS
            self.status = None if self._is_interim else status
        else:
            self._is_done = True

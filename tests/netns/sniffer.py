"""Sees every TCP connection that is tried, whether or not anybody accepts it."""

import socket
import struct
from ipaddress import ip_address

ALL_PROTOCOLS = 3
SYN, ACK = 0x02, 0x10


class Sniffer:
    """Listens below IP on every interface of this namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024**2)
        self._socket.setblocking(False)

    def take(self) -> list[tuple[str, int]]:
        """Return where connections were tried since the last call, each place once.

        A packet is seen before the call that sends it returns: there is no race.
        """
        tried: list[tuple[str, int]] = []
        while True:
            try:
                packet, (_, protocol, direction, *_) = self._socket.recvfrom(128)
            except BlockingIOError:
                return list(dict.fromkeys(tried))
            if direction == socket.PACKET_OUTGOING:
                tried += _opening(packet, protocol)


def _opening(packet: bytes, protocol: int) -> list[tuple[str, int]]:
    if protocol == 0x0800:
        segment, kind, target = packet[(packet[0] & 15) * 4 :], packet[9], packet[16:20]
    elif protocol == 0x86DD:
        segment, kind, target = packet[40:], packet[6], packet[24:40]
    else:
        return []
    if kind != socket.IPPROTO_TCP or segment[13] & (SYN | ACK) != SYN:
        return []
    return [(str(ip_address(target)), struct.unpack_from("!H", segment, 2)[0])]

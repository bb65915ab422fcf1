"""How long an ID3v2 tag is, which may stand before the sound of a file."""

from __future__ import annotations

HEADER = 10
"""Bytes of its header, and of a footer that looks alike."""
_FOOTER = 0x10


def id3_size(start: bytes) -> int:
    """Return how many bytes the ID3v2 tag takes that begins with `start`; 0 where there is none.

    The format: https://id3.org/id3v2.4.0-structure, sections 3.1 and 3.4.
    """
    if len(start) < HEADER or start[:3] != b"ID3" or max(start[6:HEADER]) & 0x80:
        return 0
    body = start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9]
    return HEADER + body + (HEADER if start[3] == 4 and start[5] & _FOOTER else 0)

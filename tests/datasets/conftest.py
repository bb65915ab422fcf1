"""Small files of the very form of the published ones: quotes, tabs, CRLF, ragged rows, Python 2 pickles."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightmel import vocabularies as tags

MTAT_TAGS = ("no voice", "singer", *tags.read("mtat"), "clasical")


def write(path: Path, data: bytes | str, *, packed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = data.encode() if isinstance(data, str) else data
    if packed:
        path = path.with_name(path.name + ".gz")
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)
    return path


def annotations(clips: Mapping[str, Iterable[str]]) -> str:
    """``annotations_final.csv``: tabs in a .csv, all in quotes, CRLF, ids with gaps, the path last."""
    header = list(dict.fromkeys(MTAT_TAGS))
    rows = [["clip_id", *header, "mp3_path"]]
    for number, (path, own) in enumerate(clips.items()):
        rows.append([str(2 + 3 * number), *("1" if t in own else "0" for t in header), path])
    return "".join("\t".join(f'"{cell}"' for cell in row) + "\r\n" for row in rows)


def jamendo_list(tracks: Sequence[tuple[int, int, Sequence[str]]]) -> str:
    """A split list of MTG-Jamendo of (track, artist, tags): each further tag is a further column; CRLF."""
    rows = [["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]]
    for track, artist, own in tracks:
        path = f"{track % 100:02d}/{track}.mp3"
        rows.append([f"track_{track:07d}", f"artist_{artist:06d}", "album_000001", path, "200.1", *own])
    return "".join("\t".join(row) + "\r\n" for row in rows)


def python2_list(items: Sequence[str]) -> bytes:
    """A list of ``str`` as cPickle of Python 2 wrote it under protocol 0."""
    body = "(lp1\n"
    for number, item in enumerate(items, start=2):
        body += f"S'{item}'\np{number}\na"
    return (body + ".").encode("latin1")


def _python2_str(text: bytes) -> bytes:
    """SHORT_BINSTRING or BINSTRING, the opcodes of Python 2's ``str``."""
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + len(text).to_bytes(4, "little") + text


def python2_dict(items: Mapping[str, str | np.ndarray]) -> bytes:
    """A dict of ``str`` to ``str`` or boolean arrays as cPickle of Python 2 wrote it under protocol 2."""
    body = b"\x80\x02}("
    for key, value in items.items():
        body += _python2_str(key.encode())
        body += _python2_str(value.encode()) if isinstance(value, str) else _python2_array(value)
    return body + b"u."


def _python2_array(value: np.ndarray) -> bytes:
    """_reconstruct(ndarray, (0,), 'b') and its state (1, shape, dtype('b1'), False, bytes)."""
    shape = b"".join(b"K" + bytes([n]) for n in value.shape)
    dtype = b"cnumpy\ndtype\n" + _python2_str(b"b1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + _python2_str(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _python2_str(b"b") + b"\x87R"
    state = b"(K\x01(" + shape + b"t" + dtype + b"\x89" + _python2_str(value.astype(bool).tobytes()) + b"tb"
    return made + state


@pytest.fixture(scope="session")
def forms() -> SimpleNamespace:
    """What writes files of each form."""
    return SimpleNamespace(
        write=write,
        annotations=annotations,
        jamendo_list=jamendo_list,
        python2_list=python2_list,
        python2_dict=python2_dict,
    )

"""Make what is heard and seen on ``docs/explanation/listening.md``: sounds, pictures, and the page's players.

The piece is the package's own sample, which anybody may do anything with (CC0 1.0). Each of eight
mel-spectrograms of seven seconds of it is drawn, a pixel for each number, and made audible in both ways::

    python docs/make_listening.py --write
    python docs/make_listening.py --check     # by decoding both, since processors differ in their last bits
"""

from __future__ import annotations

import argparse
import base64
import re
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from lightmel import MelConfig, MelFrontend, audio, sample
from lightmel.studies import Method, sonify_file

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "listening"
PAGE = HERE / "explanation" / "listening.md"
BEGIN, END = "<!-- players: made by docs/make_listening.py -->", "<!-- players: end -->"

SECONDS = 7.0
SR = 16_000
CONFIGS = {
    "16k-mel96-x1-db": "the paper's largest but one, and the usual choice",
    "16k-mel48-x1-db": "half the bands",
    "16k-mel48-x2-db": "half the bands, half the frames",
    "16k-mel48-x5-db": "half the bands, a fifth of the frames",
    "16k-mel48-x10-db": "half the bands, a tenth of the frames: 6.25 a second",
    "12k-mel48-x10-db": "the same at 12 kHz: nothing above 6 kHz, 4.7 frames a second",
    "16k-mel16-x1-db": "a sixth of the bands, all frames",
    "16k-mel8-x1-db": "the paper's fewest bands, all frames",
}
WORDS = {"noise": "by noise", "griffin-lim": "by Griffin-Lim"}
MOST_BYTES = 600_000
"""Of all sounds and pictures together."""

# The picture: its plot's corner and size, and the decibels below the loudest that are shown.
LEFT, TOP, WIDE, HIGH, BELOW = 52, 34, 420, 132, 80.0
LEVELS = 40
MARKED_HZ = (500, 1_000, 2_000, 4_000)
COLORS = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))
"""Of the quietest to the loudest, evenly: those of Matplotlib's magma (CC0)."""
STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #59636e; }
  .name { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; }
  .paper { fill: #ffffff; stroke: #d1d9e0; }
  image { image-rendering: pixelated; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .name { fill: #e6edf3; }
    .paper { fill: #0d1117; stroke: #3d444d; }
  }
"""
_DATA = re.compile(r"data:image/png;base64,([\w+/=]+)")


# The pictures.


def png(levels: NDArray[np.uint8]) -> bytes:
    """Return an image ``(rows, columns)`` of levels below `LEVELS` as PNG (ISO 15948), a byte a pixel."""
    places = np.linspace(0, len(COLORS) - 1, LEVELS)
    palette = np.stack([np.interp(places, range(len(COLORS)), c) for c in zip(*COLORS, strict=True)], 1)
    rows = b"".join(b"\0" + row.tobytes() for row in levels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 8, 3, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"PLTE", palette.round().astype(np.uint8).tobytes()),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        )
    )


def pixels(svg: str) -> NDArray[np.uint8]:
    """Return the levels in a picture that `draw` drew."""
    found = _DATA.search(svg)
    assert found is not None
    data = base64.b64decode(found[1])
    wide, high = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[start - 8 : start - 4])
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), np.uint8)
    return rows.reshape(high, wide + 1)[:, 1:]


def frames_of(config: MelConfig) -> NDArray[np.float32]:
    """Return the mel-spectrogram of the piece, ``(bands, frames)``."""
    wave = audio.middle(sample.path(), config.sr, SECONDS)
    return MelFrontend.from_config(config)(torch.from_numpy(wave)).numpy()


def draw(config: MelConfig) -> str:
    """Return the mel-spectrogram of the piece as SVG, a pixel for each number, low bands at the bottom."""
    mel = frames_of(config)
    scaled = (mel - mel.max() + BELOW) / BELOW * (LEVELS - 1)
    data = base64.b64encode(png(np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.uint8)[::-1])).decode()
    middles = np.array(config.band_edges())[1:-1]
    wide, high = LEFT + WIDE + 16, TOP + HIGH + 40
    # As wide as its frames last, which is a little more than the piece.
    per_second = WIDE / SECONDS
    shown = mel.shape[1] * config.hop_length / config.sr * per_second
    size = f"{mel.shape[0]} bands by {mel.shape[1]} frames"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{wide}"'
        f' height="{high}" viewBox="0 0 {wide} {high}" role="img">',
        f"<title>{config.slug}: {size}</title>",
        f"<style>\n{STYLE}</style>",
        f'<clipPath id="plot"><rect x="{LEFT}" y="{TOP}" width="{WIDE}" height="{HIGH}"/></clipPath>',
        f'<rect class="paper" x="0.5" y="0.5" width="{wide - 1}" height="{high - 1}" rx="8"/>',
        f'<text class="name" x="{LEFT}" y="22">{config.slug}</text>',
        f'<text x="{LEFT + WIDE}" y="22" text-anchor="end">{size}</text>',
        f'<image x="{LEFT}" y="{TOP}" width="{shown:.1f}" height="{HIGH}" preserveAspectRatio="none"'
        f' clip-path="url(#plot)" xlink:href="data:image/png;base64,{data}"/>',
    ]
    for hertz in MARKED_HZ:
        band = float(np.interp(hertz, middles, np.arange(len(middles)))) + 0.5
        y = TOP + HIGH * (1 - band / len(middles))
        if middles[0] <= hertz <= middles[-1]:
            label = f"{hertz / 1_000:g} kHz" if hertz >= 1_000 else f"{hertz} Hz"
            out.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
    for second in range(int(SECONDS) + 1):
        x, label = LEFT + second * per_second, f"{second} s" if second == SECONDS else f"{second}"
        out.append(f'<text x="{x:.0f}" y="{TOP + HIGH + 18}" text-anchor="middle">{label}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


# The sounds.


def sound_name(slug: str, method: str) -> str:
    """Return the name of a sound's file."""
    return f"{slug}-{method}.opus"


def make(folder: Path) -> None:
    """Write all sounds and pictures into a folder."""
    with audio.writing(folder / "original.opus", SR) as write:
        write(audio.middle(sample.path(), SR, SECONDS))
    for slug in CONFIGS:
        (folder / f"{slug}.svg").write_text(draw(MelConfig.from_slug(slug)), encoding="utf-8", newline="\n")
        for method in get_args(Method):
            out = folder / sound_name(slug, method)
            sonify_file(sample.path(), out, slug, method=method, excerpt_seconds=SECONDS)


# The page.


def player(name: str, says: str) -> str:
    """Return what plays a sound, in HTML."""
    return f'<audio controls preload="metadata" aria-label="{says}" src="../_static/{name}"></audio>'


def row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def players() -> Iterator[str]:
    """Yield the paragraphs of the page that are made."""
    whole = MelConfig.from_slug(next(iter(CONFIGS)))
    most = whole.n_mels * whole.sr / whole.hop_length
    yield f"**The piece itself**, at 16 kHz:\n\n{player('original.opus', 'The piece itself')}"
    for slug, words in CONFIGS.items():
        config = MelConfig.from_slug(slug)
        numbers = config.n_mels * config.sr / config.hop_length
        share = "" if numbers == most else f", {numbers / most:.1%} of the first"
        yield f"### {slug}\n\n{words[0].upper()}{words[1:]}; {numbers:,.0f} numbers a second{share}."
        yield f"![The mel-spectrogram of the piece as {slug}](../listening/{slug}.svg)"
        methods = get_args(Method)
        heard = (player(sound_name(slug, m), f"{slug}, {WORDS[m]}") for m in methods)
        yield f"{row(WORDS[m] for m in methods)}\n{row('---' for _ in methods)}\n{row(heard)}"


def page_with(text: str) -> str:
    """Return the page with its players between the two marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{PAGE} must hold one line {BEGIN} and below it one line {END}")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n" + "\n\n".join(players()) + f"\n\n{END}{rest.split(END)[1]}"


# Comparison.


def differing(made: Path, there: Path) -> list[str]:
    """Return the names of files that are in one of two folders only, or look or sound different."""
    names = {path.name for folder in (made, there) for path in folder.iterdir()}
    return sorted(
        n
        for n in names
        if not (made / n).is_file() or not (there / n).is_file() or _other(made / n, there / n)
    )


def _other(one: Path, other: Path) -> bool:
    if one.suffix == ".svg":
        a, b = (path.read_text(encoding="utf-8") for path in (one, other))
        if _DATA.sub("", a) != _DATA.sub("", b) or pixels(a).shape != pixels(b).shape:
            return True
        return bool(np.abs(pixels(a).astype(int) - pixels(b)).max() > 1)
    a_wave, b_wave = (audio.load(path, SR) for path in (one, other))
    return len(a_wave) != len(b_wave) or bool(np.corrcoef(a_wave, b_wave)[0, 1] < 0.9)


def stale() -> list[str]:
    """Return the names of what is not as it would be written."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        found = differing(Path(name), FOLDER)
    text = PAGE.read_text(encoding="utf-8")
    return [*found, *([PAGE.name] if page_with(text) != text else [])]


def main() -> None:
    """Make everything, or compare."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--write", action="store_true", help=f"write docs/{FOLDER.name} and the players of the page"
    )
    which.add_argument("--check", action="store_true", help="fail unless both are as they would be written")
    write = parser.parse_args().write
    torch.set_num_threads(1)  # the last bits of a sum depend on it
    if write:
        FOLDER.mkdir(exist_ok=True)
        make(FOLDER)
        text = page_with(PAGE.read_text(encoding="utf-8"))
        PAGE.write_text(text, encoding="utf-8", newline="\n")
        print(f"{sum(path.stat().st_size for path in FOLDER.iterdir()):,} bytes in {FOLDER}")
    elif found := stale():
        raise SystemExit(f"not as they are made: {', '.join(found)}; run {Path(__file__).name} --write")


if __name__ == "__main__":
    main()

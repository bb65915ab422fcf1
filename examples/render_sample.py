"""Render ``src/lightmel/sample/sample.ogg`` again, bit for bit: a small piece for guitar and strings.

Nothing in it is recorded: the guitar is a Karplus-Strong string, the strings are detuned wavetables, the
room is decaying noise. All chance comes from one seeded generator that is passed along, and only
``Generator.random`` is drawn from it, whose stream numpy has never changed.

    python examples/render_sample.py             # write the file
    python examples/render_sample.py --check     # say whether the file is what this script renders

The music and its recording are in the public domain (CC0 1.0); see ``src/lightmel/sample/LICENSE``.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

Wave = NDArray[np.float64]

SR = 44_100
SEED = 2020
BEAT = 60 / 88
BARS = 8
SECONDS = 24.0
QUALITY = 0.65
"""libsndfile's compression level: 0 is the largest file, 1 the smallest."""
SERIAL = 0x6D656C
"""The Ogg stream's number; libsndfile draws it from the clock, which would change the file each time."""
TARGET = Path(__file__).parents[1] / "src" / "lightmel" / "sample" / "sample.ogg"


class Chord(NamedTuple):
    """One bar: bass note and fingered notes as MIDI numbers, the bass player's two notes, the section's."""

    bass: int
    inner: tuple[int, int, int]
    low: tuple[int, int]
    section: tuple[int, ...]


# G  D/F#  Em7  Cadd9 | G/B  Am7  D7sus4-D7  G: a bass that walks down to meet the melody.
CHORDS = (
    Chord(43, (55, 59, 62), (31, 38), (55, 62, 67, 71)),
    Chord(42, (57, 62, 66), (30, 33), (54, 62, 66, 69)),
    Chord(40, (55, 59, 62), (28, 35), (52, 59, 67, 71)),
    Chord(48, (55, 60, 62), (36, 31), (48, 60, 64, 67)),
    Chord(47, (55, 59, 62), (35, 38), (47, 62, 67, 74)),
    Chord(45, (55, 60, 64), (33, 28), (45, 60, 64, 72)),
    Chord(50, (57, 60, 62), (38, 33), (50, 57, 66, 69)),
    Chord(43, (55, 59, 62), (31, 31), (43, 59, 62, 67)),
)
# (beat in the bar, MIDI number, loudness)
MELODY: tuple[tuple[tuple[float, int, float], ...], ...] = (
    ((0, 71, 0.9), (1.5, 74, 0.7), (2, 71, 0.8), (3, 67, 0.7)),
    ((0, 69, 0.9), (1.5, 71, 0.6), (2, 69, 0.8), (3, 66, 0.7)),
    ((0, 67, 0.8), (1.5, 69, 0.7), (2, 71, 0.8), (3, 74, 0.9)),
    ((0, 76, 1.0), (1.5, 74, 0.8), (2, 67, 0.8), (3.5, 72, 0.6)),
    ((0, 74, 1.0), (1.5, 71, 0.7), (2, 67, 0.8), (3, 71, 0.8)),
    ((0, 72, 0.9), (1.5, 71, 0.7), (2, 69, 0.8), (3, 67, 0.7)),
    ((0, 69, 0.8), (1, 67, 0.8), (2, 66, 0.8), (3.5, 69, 0.6)),
    (),
)


def hertz(midi: float) -> float:
    """Return the frequency of a MIDI note in Hz, A4 = 440."""
    return 440.0 * float(2.0 ** ((midi - 69) / 12))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one number, uniform in [low, high)."""
    return low + (high - low) * float(rng.random())


def noise(rng: np.random.Generator, n: int) -> Wave:
    """Return `n` samples, uniform in [-1, 1)."""
    return 2.0 * rng.random(n) - 1.0


def wander(rng: np.random.Generator, t: Wave, step: float) -> Wave:
    """Return a slow random line through [-1, 1) at the times `t`, with a corner every `step` seconds."""
    corners = np.arange(0, t[-1] + 2 * step, step)
    return np.interp(t, corners, noise(rng, len(corners)))


def low_pass(x: Wave, cutoff: float) -> Wave:
    """Smooth with the exponential of a one-pole filter at `cutoff` Hz, long enough to have died away."""
    pole = np.exp(-2 * np.pi * cutoff / SR)
    kernel = (1 - pole) * pole ** np.arange(int(np.ceil(-9 / np.log(pole))))
    y: Wave = np.convolve(x, kernel)[: len(x)]
    return y


def convolve(x: Wave, response: Wave) -> Wave:
    """Convolve through the spectrum, in full."""
    n = len(x) + len(response) - 1
    size = 1 << (n - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)[:n]


def pluck(rng: np.random.Generator, midi: float, seconds: float, loud: float, ring: float = 3.5) -> Wave:
    """Pluck a string: Karplus and Strong (1983) with Jaffe and Smith's tuning and plucking point.

    The loop is a damping pair of taps and a third-order Lagrange delay; a block as long as the delay is
    computed at once from the block before it.
    """
    f0 = hertz(midi)
    period = SR / f0
    damping = float(np.clip(0.42 * (82.4 / f0) ** 0.5, 0.14, 0.45))
    delay = int(period - damping - 1)
    d = period - damping - delay
    lagrange = np.array([-(d - 1) * (d - 2) * (d - 3) / 6, d * (d - 2) * (d - 3) / 2,
                         -d * (d - 1) * (d - 3) / 2, d * (d - 1) * (d - 2) / 6])  # fmt: skip
    taps = 0.001 ** (1 / (f0 * ring)) * np.convolve([1 - damping, damping], lagrange)

    finger = np.zeros(int(period))
    finger[: max(2, int(0.12 * period))] = 1.0
    burst = 0.55 * noise(rng, len(finger)) + 0.8 * (finger - finger.mean())
    burst = low_pass(np.concatenate([burst, np.zeros(64)]), 1500 + 5500 * loud * loud)
    point = int(between(rng, 0.17, 0.23) * period)
    shifted = np.concatenate([np.zeros(point), burst])
    n = int(seconds * SR)
    history = delay + len(taps) - 1
    y = np.zeros(history + n + delay)
    excitation = np.zeros(n + delay)
    excitation[: len(shifted)] = -shifted
    excitation[: len(burst)] += burst
    for start in range(0, n, delay):
        past = y[start : start + delay + len(taps) - 1]
        now = history + start
        y[now : now + delay] = excitation[start : start + delay] + np.convolve(past, taps, "valid")
    out = y[history : history + n]
    release = min(n, int(0.06 * SR))
    out[n - release :] *= np.linspace(1, 0, release)
    sound: Wave = loud * out
    return sound


def bowed(rng: np.random.Generator, midi: int, seconds: float, release: float, players: int = 3) -> Wave:
    """Bow one note with a few players, each with a pitch, a vibrato and a loudness of their own."""
    f0 = hertz(midi)
    harmonics = np.arange(1, int(9000 / f0) + 1)
    f = harmonics * f0
    body = 1 + 0.9 * np.exp(-(((f - 480) / 160) ** 2)) + 0.7 * np.exp(-(((f - 2400) / 900) ** 2))
    weights = body / harmonics / (1 + (f / 2600) ** 2)
    x = np.arange(4097) / 4096
    table = np.sin(2 * np.pi * np.outer(x, harmonics)) @ weights
    n = int(seconds * SR)
    t = np.arange(n) / SR
    swell = np.minimum(1, t / 0.35) * np.minimum(1, (seconds - t) / release)
    swell = np.sin(0.5 * np.pi * swell) ** 2 * (0.8 + 0.2 * np.sin(np.pi * t / seconds))
    out = np.zeros(n)
    for _ in range(players):
        depth = between(rng, 0.0015, 0.0035) * np.minimum(1, t / 0.8)
        vibrato = depth * np.sin(2 * np.pi * (between(rng, 4.8, 5.8) * t + between(rng, 0, 1)))
        drift = 0.0012 * wander(rng, t, 0.5)
        pitch = f0 * (1 + between(rng, -0.0018, 0.0018) + vibrato + drift)
        phase = (np.cumsum(pitch) / SR + between(rng, 0, 1)) % 1.0
        out += np.interp(phase, x, table) * swell * (1 + 0.12 * wander(rng, t, 0.11))
    bow = low_pass(noise(rng, n), 4000) * swell
    sound: Wave = out / players + 0.006 * bow
    return sound


def kick(rng: np.random.Generator, loud: float) -> Wave:
    """Strike a soft bass drum: a falling sine and the felt of the beater."""
    t = np.arange(int(0.28 * SR)) / SR
    phase = 2 * np.pi * np.cumsum(52 + 58 * np.exp(-t / 0.025)) / SR
    felt = low_pass(noise(rng, len(t)), 900) * np.exp(-t / 0.008)
    return loud * (np.sin(phase) * np.exp(-t / 0.075) + 0.5 * felt)


def brush(rng: np.random.Generator, loud: float) -> Wave:
    """Tap a snare with a brush: a short head tone under a cloud of wire."""
    t = np.arange(int(0.3 * SR)) / SR
    wires = noise(rng, len(t))
    wires -= low_pass(wires, 1100)
    cloud = wires * (0.8 * np.exp(-t / 0.05) + 0.2 * np.exp(-t / 0.1)) * np.minimum(1, t / 0.004)
    return loud * (0.5 * cloud + 0.25 * np.sin(2 * np.pi * 186 * t) * np.exp(-t / 0.04))


def shaker(rng: np.random.Generator, loud: float) -> Wave:
    """Move a shaker once: grains that arrive over a few hundredths of a second."""
    t = np.arange(int(0.11 * SR)) / SR
    grains = noise(rng, len(t))
    grains -= low_pass(grains, 4500)
    sound: Wave = loud * grains * np.sin(np.pi * np.minimum(1, t / 0.1)) ** 2
    return sound


def guitar_body(rng: np.random.Generator) -> Wave:
    """Return the box's answer to a tap: the sound itself, its air and plate modes, a little wood."""
    t = np.arange(int(0.12 * SR)) / SR
    response = np.zeros(len(t))
    for f, decay, gain in ((104, 0.03, 0.6), (191, 0.022, 0.9), (238, 0.02, 0.5), (388, 0.014, 0.6),
                           (545, 0.010, 0.5), (760, 0.008, 0.5), (1130, 0.006, 0.5)):  # fmt: skip
        response += 2 * gain / (decay * SR) * np.sin(2 * np.pi * f * t) * np.exp(-t / decay)
    response += 0.02 * noise(rng, len(t)) * np.exp(-t / 0.004)
    response[0] += 1.0
    return response


def hall(rng: np.random.Generator, seconds: float) -> Wave:
    """Return one ear's answer of a room: noise that decays, the higher the faster."""
    n = int(seconds * SR)
    t = np.arange(n) / SR
    spectrum = np.fft.rfft(noise(rng, n))
    f = np.fft.rfftfreq(n, 1 / SR)
    response = np.zeros(n)
    for low, high, t60 in ((120, 700, 1.9), (700, 2500, 1.6), (2500, 6000, 1.1), (6000, 12000, 0.6)):
        rise, fall = 1 / (1 + (low / np.maximum(f, 1)) ** 8), 1 / (1 + (f / high) ** 8)
        response += np.fft.irfft(spectrum * np.sqrt(rise * fall), n) * np.exp(-6.9 * t / t60)
    response *= np.minimum(1, np.maximum(0, t - 0.012) / 0.02)
    unit: Wave = response / np.sqrt(np.sum(response**2))
    return unit


class Desk:
    """A mixing desk: one stereo track and one send to the room, `length` samples long."""

    def __init__(self, length: int) -> None:
        self.dry = np.zeros((2, length))
        self.send = np.zeros((2, length))

    def add(self, sound: Wave, seconds: float, pan: float, level: float, room: float) -> None:
        """Lay `sound` at a time, panned from -1 (left) to 1, with a part of it sent to the room."""
        start = max(0, round(seconds * SR))
        sound = level * sound[: self.dry.shape[1] - start]
        angle = (pan + 1) * np.pi / 4
        for ear, gain in enumerate((np.cos(angle), np.sin(angle))):
            self.dry[ear, start : start + len(sound)] += gain * sound
            self.send[ear, start : start + len(sound)] += gain * room * sound


def play_guitar(rng: np.random.Generator, desk: Desk) -> None:
    """Play the fingerpicked part: bass, broken chord and melody, late and early by a few milliseconds."""
    track = np.zeros(desk.dry.shape[1])

    def note(beat: float, midi: int, loud: float, beats: float, ring: float = 3.6) -> None:
        when = 0.12 + beat * BEAT + between(rng, -0.007, 0.009)
        sound = pluck(rng, midi, beats * BEAT, loud * between(rng, 0.88, 1.0), ring)
        start = round(when * SR)
        sound = sound[: len(track) - start]
        track[start : start + len(sound)] += sound

    for bar, chord in enumerate(CHORDS[:-1]):
        first = 4 * bar
        note(first, chord.bass, 0.75, 2.1)
        note(first + 2, chord.bass + (7 if chord.bass < 47 else 0), 0.6, 2.0)
        a, b, c = chord.inner
        for beat, midi in ((0.5, a), (1, b), (1.5, c), (2.5, a), (3, b), (3.5, c)):
            note(first + beat, midi, 0.45 if beat % 1 else 0.55, 1.6)
        beats = [beat for beat, _, _ in MELODY[bar]] + [4.0]
        for (beat, midi, loud), until in zip(MELODY[bar], beats[1:], strict=True):
            note(first + beat, midi, 0.95 * loud, until - beat + 0.25)
    last = 4 * (BARS - 1)
    for i, midi in enumerate((43, 50, 55, 59, 62, 67)):  # the last chord, rolled from the thumb up
        note(last + 0.07 * i, midi, 0.62 - 0.02 * i, 7.0, 6.0)
    for beat, midi in ((1.5, 71), (2.25, 74), (3.1, 79)):
        note(last + beat, midi, 0.5, 4.0, 5.0)
    desk.add(convolve(track, guitar_body(rng)), 0.0, -0.15, 0.5, 0.22)


def play_band(rng: np.random.Generator, desk: Desk) -> None:
    """Play bass from the third bar, shaker with it, strings and drums from the fifth."""
    for bar, chord in enumerate(CHORDS):
        start = 0.12 + 4 * bar * BEAT
        if bar >= 2:
            for beat, midi, beats in ((0, chord.low[0], 2.2), (2.5, chord.low[1], 1.4)):
                if bar == BARS - 1 and beat:
                    continue
                low = low_pass(low_pass(pluck(rng, midi, beats * BEAT, 0.9, ring=2.5), 420), 900)
                desk.add(low, start + beat * BEAT + between(rng, -0.006, 0.010), 0.05, 0.62, 0.05)
        if 2 <= bar < BARS - 1:
            for eighth in range(8):
                loud = (0.9 if eighth % 2 else 0.55) * between(rng, 0.8, 1.0)
                late = between(rng, -0.006, 0.006) - 0.03
                desk.add(shaker(rng, loud), start + eighth * BEAT / 2 + late, 0.45, 0.06, 0.2)
        if bar >= 4:
            swell = 0.07 + 0.006 * (bar - 4)
            beats, level, release = (4.25, swell, 0.45) if bar < BARS - 1 else (6.4, 0.07, 2.4)
            for midi, pan in zip(chord.section, (0.6, 0.25, -0.35, -0.6), strict=True):
                desk.add(bowed(rng, midi, beats * BEAT, release), start - 0.1, pan, level, 0.5)
        if 4 <= bar < BARS - 1:
            for beat in (0, 2, 2.5):
                desk.add(kick(rng, 0.9 if beat < 2.5 else 0.5), start + beat * BEAT, 0.0, 0.22, 0.08)
            for beat in (1, 3):
                late = between(rng, 0.0, 0.01)
                desk.add(brush(rng, between(rng, 0.85, 1.0)), start + beat * BEAT + late, 0.1, 0.12, 0.3)
    desk.add(kick(rng, 0.9), 0.12 + 4 * (BARS - 1) * BEAT, 0.0, 0.2, 0.1)


def render(rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the piece as 16-bit stereo, ``(samples, 2)`` at 44.1 kHz."""
    desk = Desk(round(SECONDS * SR))
    play_guitar(rng, desk)
    play_band(rng, desk)
    n = desk.dry.shape[1]
    wet = np.stack([convolve(send, hall(rng, 1.8))[:n] for send in desk.send])
    mix = desk.dry + wet
    mix = np.tanh(1.15 * mix / np.abs(mix).max())  # a little tape, which also tames single peaks
    fade = round(2.0 * SR)
    mix[:, n - fade :] *= np.cos(0.5 * np.pi * np.linspace(0, 1, fade)) ** 2
    mix *= 0.89 / np.abs(mix).max()
    pcm: NDArray[np.int16] = np.round(32767 * mix.T).astype(np.int16)
    return pcm


def encode(pcm: NDArray[np.int16]) -> bytes:
    """Return 16-bit stereo as Ogg Vorbis bytes, the same for the same sound and the same libsndfile."""
    sink = io.BytesIO()
    with soundfile.SoundFile(
        sink, "w", SR, 2, format="OGG", subtype="VORBIS", compression_level=QUALITY
    ) as out:
        out.title, out.artist, out.license = "Sample", "The lightmel developers", "CC0-1.0"
        for start in range(0, len(pcm), 4096):  # libvorbis overflows its stack on one huge block
            out.write(pcm[start : start + 4096])
    return renumber(sink.getvalue(), SERIAL)


def renumber(ogg: bytes, serial: int) -> bytes:
    """Give every page of an Ogg file (RFC 3533) the stream number `serial`, and its checksum anew."""
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    out, at = bytearray(ogg), 0
    while at < len(out):
        segments = out[at + 26]
        end = at + 27 + segments + sum(out[at + 27 : at + 27 + segments])
        out[at + 14 : at + 18] = serial.to_bytes(4, "little")
        out[at + 22 : at + 26] = bytes(4)
        checksum = 0
        for byte in out[at:end]:
            checksum = ((checksum << 8) & 0xFFFFFFFF) ^ table[(checksum >> 24) ^ byte]
        out[at + 22 : at + 26] = checksum.to_bytes(4, "little")
        at = end
    return bytes(out)


def main() -> int:
    """Write the file, or compare it with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET, help="where to write (default: the package)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    args = parser.parse_args()
    ogg = encode(render(np.random.default_rng(SEED)))
    if args.check:
        same = args.out.read_bytes() == ogg
        print(f"{args.out}: {'the same, bit for bit' if same else 'differs from what this script renders'}")
        return 0 if same else 1
    args.out.write_bytes(ogg)
    print(f"{args.out}: {SECONDS:g} s, {len(ogg):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

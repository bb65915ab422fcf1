"""What a network still sees of a sound, made audible: a wave that has the same mel-spectrogram, and no more.

A mel-spectrogram has no phases, one number for a whole band, and at a large hop no time between its frames.
What is made of it fills that in with nothing: frames are connected by straight lines, the power of a band is
spread as evenly as its neighbours allow, and phases are random. So what is heard was in the mel-spectrogram,
and what is not heard was not.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import audio
from .._each import printable
from .._files import at_home, is_file
from .._steady import steady
from ..audio import Wave
from ..errors import AudioError, ConfigError, nearest
from ..frontends import BASE_HOP, N_FFT, MelConfig, MelFrontend, config_from_slug, mel_filter_bank
from ..inference import Sound, Source

log = logging.getLogger("lightmel")

Method = Literal["noise", "griffin-lim"]

LONGEST_GRIFFIN_LIM = 60.0
"""Seconds that Griffin-Lim takes at most: it holds all frames in memory, and goes over them many times."""
PEAK = 0.95
"""Of full scale, which nothing exceeds."""

_HOP = 128
"""Samples between the frames that are put together: a quarter, so that squared windows add up evenly."""
_STEPS = BASE_HOP // _HOP
_UPDATES = 30
"""After which the bands of music are met within .3 dB (root mean square); after 100 within .05."""
_FLOOR_DB = -99.99
"""Decibels down to which nothing is left: the front end ends at -100."""
_TINY = 1e-20
_BATCH = 1_024
"""Frames that are put together at a time."""
_ITERATIONS = 32
_MOMENTUM = 0.99


@dataclass(frozen=True)
class Sonified:
    """A sound that was made of a mel-spectrogram.

    Attributes
    ----------
    config
        The mel-spectrogram; its rate is the sound's.
    method
        How it was made.
    samples
        Its length, at ``config.sr``.
    source_samples
        Length of the whole source at that rate, which is more where an excerpt was taken.
    gain
        What its samples were multiplied by so that nothing clips; 1 where its loudness is the source's.
    path
        The file.
    """

    config: MelConfig
    method: Method
    samples: int
    source_samples: int
    gain: float
    path: Path


@steady
def sonify(
    source: Source,
    config: MelConfig | str,
    *,
    sr: int | None = None,
    method: Method = "noise",
    excerpt_seconds: float | None = None,
    seed: int = 0,
) -> Wave:
    """Return a sound that has the mel-spectrogram of another and, but for chance, nothing else of it.

    Parameters
    ----------
    source, sr
        A sound, as `lightmel.tag` takes it; `sr` is the rate in Hz of an array.
    config
        The mel-spectrogram, or its slug, such as ``16k-mel48-x10-db``.
    method
        ``"noise"``: noise, whose spectrum follows the mel-spectrogram. ``"griffin-lim"``: the phases of that
        noise are made to fit each other (Griffin and Lim 1984, in the fast form of Perraudin, Balazs and
        Søndergaard 2013), so that tones are tones where the bands are narrow enough for them.
    excerpt_seconds
        From the middle; None: all of it, for Griffin-Lim at most 60 s.
    seed
        Of the noise. The same seed gives the same samples.

    Returns
    -------
    Array ``(samples,)``, float32, at ``config.sr`` and as loud as the source, unless something would exceed
    .95 of full scale: then all of it is turned down to that.

    Raises
    ------
    ConfigError
        If `config` or `method` is unknown, the front end is no mel-spectrogram of this kind, or the excerpt
        is longer than the method takes.
    AudioError
        If the source cannot be read.
    """
    plan = _Plan(source, _checked(config), sr, _known(method), excerpt_seconds, seed)
    blocks = list(plan.blocks())
    return np.concatenate(blocks) * np.float32(_gain(blocks))


@steady
def sonify_file(
    source: Source,
    out: str | os.PathLike[str],
    config: MelConfig | str,
    *,
    sr: int | None = None,
    method: Method = "noise",
    excerpt_seconds: float | None = None,
    seed: int = 0,
) -> Sonified:
    """Write what `sonify` returns to a file: .wav, .flac, .ogg (Vorbis) or .opus, by its name.

    Noise is made block by block, twice: once to find its largest sample, once to write it. So a file of any
    length takes the memory of a short one; an excerpt is held in memory. The same call writes the same bytes.

    Parameters
    ----------
    source, config, sr, method, excerpt_seconds, seed
        As in `sonify`.
    out
        The file. Its folder must be there. A leading ``~`` is the home folder, here and in `source`.

    Raises
    ------
    ConfigError
        As `sonify`.
    AudioError
        If the source cannot be read, `out` cannot be written, or is the source itself.
    """
    target = at_home(out)
    if isinstance(source, (str, os.PathLike)):
        source = at_home(source)
        if is_file(target) and is_file(source):
            _refuse_itself(target, source)
    plan = _Plan(source, _checked(config), sr, _known(method), excerpt_seconds, seed)
    with audio.writing(target, plan.config.sr) as write:
        gain = _gain(plan.blocks())
        samples = 0
        for block in plan.blocks():
            write(block * np.float32(gain))
            samples += len(block)
    return Sonified(plan.config, plan.method, samples, plan.sound.samples, gain, target)


def _refuse_itself(target: Path, source: str | os.PathLike[str]) -> None:
    if target.samefile(source):
        raise AudioError(
            f"{printable(str(target))} is read here, and would be replaced: name another file for the new "
            "sound."
        )


def _checked(config: MelConfig | str) -> MelConfig:
    found = config_from_slug(config) if isinstance(config, str) else config
    if not isinstance(found, MelConfig):
        raise ConfigError(
            f"{found.slug} is a front end of the kind {found.kind!r}: only mel-spectrograms of the kind "
            "'mel' are made audible, such as 16k-mel48-x2-db."
        )
    return found


def _known(method: str) -> Method:
    known: tuple[Method, ...] = get_args(Method)
    for name in known:
        if method == name:
            return name
    raise ConfigError(
        f"method is {' or '.join(map(repr, known))}, not {method!r}.{nearest(str(method), known)}"
    )


def _gain(blocks: Iterable[Wave]) -> float:
    """Return the number up to 1 by which nothing exceeds `PEAK`."""
    peak = max((float(np.abs(block).max(initial=0)) for block in blocks), default=0.0)
    return min(1.0, PEAK / peak) if peak else 1.0


class _Plan:
    """What is made of what; `blocks` gives it, the same each time."""

    def __init__(
        self,
        source: Source,
        config: MelConfig,
        sr: int | None,
        method: Method,
        excerpt_seconds: float | None,
        seed: int,
    ) -> None:
        self.config, self.method = config, method
        self._seed = _whole(seed)
        self._length = self._excerpt(excerpt_seconds)
        self._notes: list[str] = []
        self.sound = Sound(source, sr, config.sr, self._notes)
        self._made: Wave | None = None
        self._said: set[str] = set()

    def _excerpt(self, seconds: float | None) -> int | None:
        longest = LONGEST_GRIFFIN_LIM if self.method == "griffin-lim" else math.inf
        if seconds is None:
            return None if longest == math.inf else self.config.n_samples(longest)
        if not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf) or isinstance(seconds, bool):
            raise ConfigError(f"excerpt_seconds is a number of seconds above 0, not {seconds!r}.")
        if seconds > longest:
            raise ConfigError(
                f"excerpt_seconds={seconds:g} is more than the {longest:g} s that Griffin-Lim takes, which "
                "holds all of it in memory: take less, or the method 'noise', which takes any length."
            )
        return max(1, self.config.n_samples(seconds))

    def blocks(self) -> Iterator[Wave]:
        """Yield the sound in blocks."""
        waves = self.sound.blocks() if self._length is None else self.sound.middle(self._length)
        generator = np.random.default_rng(self._seed)
        if self.method == "noise":
            yield from noise(waves, self.config, generator, self.sound.label)
        else:
            if self._made is None:
                self._made = _rebuilt(_Counted(waves, self.sound.label), self.config, generator)
            yield self._made
        # Read again, the sound has the same to be said of it.
        for note in self._notes:
            if note not in self._said:
                log.warning("%s: %s.", self.sound.label, note)
        self._said.update(self._notes)


def _whole(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed is a whole number from 0 on, not {seed!r}.")
    return int(seed)


def noise(
    waves: Iterable[Wave], config: MelConfig, generator: np.random.Generator, label: str = "The sound"
) -> Iterator[Wave]:
    """Yield noise that has the mel-spectrogram of a sound, which arrives in blocks; as many samples as came.

    Frames of random phases are put together over each other: with a Hann window w a quarter of a frame apart,
    such noise has a constant loudness, and the power spectrum of its frames is on average what each was made
    of, where they are multiplied with ``sqrt(N h) / sum(w^2)`` (N their length, h the samples between them).
    """
    window = torch.hann_window(N_FFT, dtype=torch.float32)
    scale = math.sqrt(N_FFT * _HOP) / float(window.square().sum())
    tail = torch.zeros(N_FFT - _HOP)
    counted = _Counted(waves, label)
    made, skip = 0, N_FFT // 2
    for magnitudes in _magnitudes(counted, config):
        for start in range(0, magnitudes.shape[1], _BATCH):
            spectra = torch.polar(*_with_phases(magnitudes[:, start : start + _BATCH], generator))
            frames = torch.fft.irfft(spectra.T, n=N_FFT) * (window * scale)
            count = len(frames)
            whole = F.fold(frames.T[None], (1, (count - 1) * _HOP + N_FFT), (1, N_FFT), stride=(1, _HOP))
            wave = whole[0, 0, 0]
            wave[: len(tail)] += tail
            tail = wave[count * _HOP :].clone()
            ready = wave[skip : count * _HOP]
            skip = max(0, skip - count * _HOP)
            if counted.done:
                ready = ready[: counted.samples - made]
            made += len(ready)
            if len(ready):
                yield ready.numpy()


class _Counted:
    """Blocks that are counted as they pass; the label is what messages call them."""

    def __init__(self, waves: Iterable[Wave], label: str) -> None:
        self._waves, self.label = waves, label
        self.samples = 0
        self.done = False

    def __iter__(self) -> Iterator[Wave]:
        for wave in self._waves:
            self.samples += len(wave)
            yield wave
        self.done = True


def _with_phases(magnitudes: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return magnitudes ``(bins, frames)`` and as many random phases, drawn frame after frame."""
    # `random` alone is drawn from: its numbers are the same in every version of NumPy.
    turns = generator.random((magnitudes.shape[1], magnitudes.shape[0]), np.float32)
    return magnitudes.contiguous(), torch.from_numpy(turns).T.contiguous() * (2 * math.pi)


def _magnitudes(counted: _Counted, config: MelConfig) -> Iterator[Tensor]:
    """Yield magnitudes ``(257, k)`` of frames `_HOP` samples apart, from the first sample past the last."""
    steps = _STEPS * config.hop_factor
    rising = torch.arange(steps, dtype=torch.float32) / steps
    bank = mel_filter_bank(config).float()
    held: Tensor | None = None
    count = 0
    for mel in _mels(counted, config):
        now = spectra(mel_power(mel, config), bank).sqrt_()
        if held is not None:
            now = torch.cat((held, now), 1)
        held = now[:, -1:].clone()
        left, right = now[:, :-1, None], now[:, 1:, None]
        between = (left + (right - left) * rising).flatten(1)
        count += between.shape[1]
        if between.shape[1]:
            yield between
    assert held is not None
    # The last frame stays until four frames lie over the last sample.
    missing = -(-counted.samples // _HOP) + 2 - count
    while missing > 0:
        yield held.expand(-1, min(missing, _BATCH))
        missing -= _BATCH


def _mels(waves: _Counted, config: MelConfig) -> Iterator[Tensor]:
    stream = MelFrontend.from_config(config).stream()
    for wave in waves:
        mel = stream.push(torch.from_numpy(np.ascontiguousarray(wave)))
        if mel.shape[1]:
            yield _finite(mel, waves.label)
    last = stream.flush()
    if last.shape[1]:
        yield _finite(last, waves.label)


def _finite(mel: Tensor, label: str) -> Tensor:
    if not bool(mel.isfinite().all()):
        raise AudioError(
            f"{label}: samples are so large that the mel-spectrogram is not finite: scale them to ±1."
        )
    return mel


def mel_power(mel: Tensor, config: MelConfig) -> Tensor:
    """Return the power in each band of a log-mel; nothing, where it is at the floor of decibels."""
    if config.log == "db":
        return torch.where(mel > _FLOOR_DB, torch.pow(10.0, mel / 10), 0.0)
    return ((torch.pow(10.0, mel) - 1) / 10_000).clamp_min_(0)


def spectra(power: Tensor, bank: Tensor) -> Tensor:
    """Return power spectra ``(bins, frames)``, none below zero, whose bands have `power`.

    It begins with the power of each band spread over its bins, and changes that as much as is needed, by the
    multiplicative updates of Lee and Seung (2001) for the generalised Kullback-Leibler divergence.

    Parameters
    ----------
    power
        ``(bands, frames)``.
    bank
        Weights ``(bands, bins)`` of the bins in each band.
    """
    cover = bank.sum(0)[:, None] + _TINY
    found = bank.T @ (power / bank.sum(1)[:, None]) / cover
    for _ in range(_UPDATES):
        found *= bank.T @ (power / (bank @ found + _TINY)) / cover
    return found


def _rebuilt(counted: _Counted, config: MelConfig, generator: np.random.Generator) -> Wave:
    magnitudes = torch.cat(list(_magnitudes(counted, config)), 1)
    magnitudes = magnitudes[:, : -(-counted.samples // _HOP) + 1]
    magnitudes, phases = _with_phases(magnitudes, generator)
    wave: Wave = griffin_lim(magnitudes, phases)[: counted.samples].numpy()
    return wave


def griffin_lim(magnitudes: Tensor, phases: Tensor, *, iterations: int = _ITERATIONS) -> Tensor:
    """Return a wave whose frames have nearly these magnitudes.

    Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984), with the momentum
    of Perraudin, Balazs and Søndergaard, "A fast Griffin-Lim algorithm" (2013).

    Parameters
    ----------
    magnitudes
        ``(257, frames)``, of frames of 512 samples under a Hann window, 128 samples apart, the first around
        the first sample.
    phases
        Where it begins, in radians, ``(257, frames)``.
    iterations
        How often the phases are taken from a wave.

    Returns
    -------
    ``(128 * (frames - 1),)``
    """
    window = torch.hann_window(N_FFT, dtype=magnitudes.dtype)
    length = _HOP * (magnitudes.shape[1] - 1)
    angles = torch.polar(torch.ones_like(phases), phases)
    before = torch.zeros_like(angles)

    def wave() -> Tensor:
        return torch.istft(magnitudes * angles, N_FFT, _HOP, window=window, length=length)

    for _ in range(iterations):
        rebuilt = torch.stft(wave(), N_FFT, _HOP, window=window, pad_mode="constant", return_complex=True)
        angles = rebuilt - before * (_MOMENTUM / (1 + _MOMENTUM))
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    return wave()

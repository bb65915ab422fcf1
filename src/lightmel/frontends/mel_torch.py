"""`MelFrontend`: from a wave to the log-mel frames of a `MelConfig`: whole, in a batch, or as a stream.

The front end is that of Ferraro, Bogdanov, Serra and Yoon (EUSIPCO 2020), and equals librosa's
``melspectrogram(n_fft=512, hop_length=256 * hop_factor, pad_mode="constant")``. It is fast because some
hundred frames at a time stay in the processor's cache from window to logarithm, because only the frames
that are wanted are transformed, and because a block of mel bands multiplies only the bins it covers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import mel_numpy
from .mel import N_FFT, Log, MelConfig, MelNorm, MelScale, PadMode
from .module import Framewise, check_wave, no_autocast

_HALF = N_FFT // 2
_CACHE_FRAMES = 512  # 1 MB of float32 stays in a second-level cache of 2 MB; 256 and 1024 take longer
_LARGE_FRAMES = 65_536  # where calls cost more than cache misses: accelerators, graphs of gradients
_BAND_BLOCKS = 4  # a fifth saves nothing more


class MelFrontend(Framewise):
    """Wave in, log-mel frames out.

    Parameters
    ----------
    sr, n_mels, hop_factor, log, mel_scale, mel_norm, pad_mode
        The fields of `MelConfig`, which checks them. The keyword-only ones are for imported checkpoints:
        ``"htk"``, ``"none"`` and ``"reflect"`` together are the front end of
        ``torchaudio.transforms.MelSpectrogram`` as it is by default.

    Raises
    ------
    ConfigError
        If no front end can be built from it; the message names the nearest configuration that works.

    Notes
    -----
    Frames are 512 samples long, zero-centred and ``256 * hop_factor`` samples apart, with a periodic
    Hann window; their power goes through triangles over 0 Hz to ``sr / 2``, and then through
    ``log10(1 + 10000 x)`` or ``10 log10(max(x, 1e-10))``.

    A float32 wave is computed in float32, a float64 wave in float64 throughout; float16 and bfloat16 are
    raised to float32 and give float32. Autocast is ignored, and casting the module (``half()``,
    ``double()``, ``to(dtype)``) changes nothing: the wave alone decides. Its buffers, window and filter
    bank, follow the module's device and are in no state dict.

    An instance holds no state between calls, so threads may share it; each thread needs its own
    `stream`.

    Examples
    --------
    >>> MelFrontend(16_000, 48, hop_factor=2)(torch.zeros(16_000)).shape
    torch.Size([48, 32])
    """

    config: MelConfig

    def __init__(
        self,
        sr: int,
        n_mels: int,
        hop_factor: int = 1,
        log: Log = "db",
        *,
        mel_scale: MelScale = "slaney",
        mel_norm: MelNorm = "slaney",
        pad_mode: PadMode = "zeros",
    ) -> None:
        super().__init__(MelConfig(sr, n_mels, hop_factor, log, mel_scale, mel_norm, pad_mode))
        self.hop, self.after = self.config.hop_length, _HALF
        self.before = _HALF + 1  # the end of a mirrored sound may need one more
        self.bank32 = _LogMel(self.config, torch.float32)
        self.bank64 = _LogMel(self.config, torch.float64)

    @classmethod
    def from_config(cls, config: MelConfig) -> MelFrontend:
        """Build the front end that `config` describes."""
        return cls(**{name: value for name, value in config.to_dict().items() if name != "kind"})

    def frames(self, sound: Tensor, offset: int, first: int, stop: int) -> Tensor:
        """Return log-mel frames; see `Framewise`."""
        config = self.config
        bank = self.bank64 if sound.dtype == torch.float64 else self.bank32
        rows, n_frames = sound.shape[0], stop - first
        graph = sound.requires_grad and torch.is_grad_enabled()  # where `out=` is not allowed
        at_once = _LARGE_FRAMES if graph or sound.device.type != "cpu" else _CACHE_FRAMES
        row_step = max(1, at_once // max(1, n_frames))
        frame_step = max(1, at_once // max(1, min(row_step, rows)))
        out = sound.new_empty(rows, config.n_mels, n_frames)
        with no_autocast(sound.device.type):
            for i in range(0, rows, row_step):
                some = sound[i : i + row_step]
                for begin in range(first, stop, frame_step):
                    end = min(begin + frame_step, stop)
                    frames = self._windowed(some, offset, begin, end, bank.window, graph)
                    mel = bank(frames.flatten(0, 1)).reshape(config.n_mels, *frames.shape[:2])
                    out[i : i + row_step, :, begin - first : end - first] = mel.transpose(0, 1)
        return out

    def _windowed(
        self, sound: Tensor, offset: int, begin: int, end: int, window: Tensor, graph: bool
    ) -> Tensor:
        """Cut frames `begin` to `end`, ``(rows, end - begin, 512)``, out of the sound and window them."""
        hop = self.config.hop_length
        # Frames 1 to `ragged` lie inside the sound and are read where they are; the others are padded.
        ragged = max(1, (offset + sound.shape[1] - _HALF) // hop + 1)
        cuts = begin, min(max(begin, 1), end), min(max(begin, ragged), end), end
        frames = sound.new_empty(sound.shape[0], 0 if graph else end - begin, N_FFT)
        pieces = []
        for a, b in pairwise(cuts):
            if a < b:
                samples = self._samples(sound, a * hop - offset, (b - 1) * hop - offset)
                place = None if graph else frames[:, a - begin : b - begin]
                pieces.append(torch.mul(samples.unfold(-1, N_FFT, hop), window, out=place))
        return torch.cat(pieces, 1) if graph else frames

    def _samples(self, sound: Tensor, first_center: int, last_center: int) -> Tensor:
        """Samples that the frames from one centre to another cover, padded where there are none."""
        start, stop, n = first_center - _HALF, last_center + _HALF, sound.shape[-1]
        if start >= 0 and stop <= n:
            return sound[:, start:stop]
        if self.config.pad_mode == "zeros":
            return F.pad(sound[:, max(start, 0) : stop], (max(-start, 0), max(stop - n, 0)))
        mirrored = torch.arange(start, stop, device=sound.device).abs()
        return sound[:, n - 1 - (n - 1 - mirrored).abs()]

    def checked(self, wave: Tensor) -> Tensor:
        """Return a float64 wave as it is, and any other as float32."""
        check_wave(wave, self.bank32.window.device)
        return wave if wave.dtype == torch.float64 else wave.float()

    def check_length(self, samples: int) -> None:
        """Raise `ShapeError` for no samples; for ``pad_mode="reflect"``, for fewer than 257."""
        mel_numpy.check_length(self.config, samples)


def mel_filter_bank(config: MelConfig) -> Tensor:
    """Weights ``(n_mels, 257)``, float64, of the spectrum's bins in each mel band.

    Triangles, linear in Hz, between the corners `MelConfig.band_edges`; ``mel_norm="slaney"`` divides
    each by half its width in Hz, so that all have unit area (Slaney, Auditory Toolbox, 1998).
    """
    return torch.from_numpy(mel_numpy.mel_filter_bank(config))


class _LogMel(nn.Module):
    """Window, spectrum, mel bands and logarithm of frames, in one precision that no cast changes."""

    window: Tensor

    def __init__(self, config: MelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.config, self.dtype = config, dtype
        self._place(torch.get_default_device())

    def _place(self, device: torch.device) -> None:
        """Compute the buffers in float64 and round them once, to `dtype` on `device`."""
        if device.type == "mps" and self.dtype == torch.float64:
            device = torch.device("cpu")  # which has no float64
        window = torch.from_numpy(mel_numpy.mel_window())
        self.register_buffer("window", window.to(device, self.dtype), persistent=False)
        self._rows: list[tuple[int, int]] = []
        blocks = mel_filter_bank(self.config).tensor_split(min(_BAND_BLOCKS, self.config.n_mels))
        for i, block in enumerate(blocks):
            used = block.any(0).nonzero()
            low, high = int(used[0]), int(used[-1]) + 1
            # Real and imaginary parts lie side by side: each weight twice adds up their squares.
            weights = block[:, low:high].repeat_interleave(2, 1)
            self.register_buffer(f"bands{i}", weights.to(device, self.dtype), persistent=False)
            self._rows.append((2 * low, 2 * high))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _LogMel:
        """Follow `fn` to its device only: a cast would lose digits that casting back cannot bring back."""
        self._place(fn(torch.empty(0, device=self.window.device)).device)
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """Turn windowed frames ``(n, 512)`` into ``(n_mels, n)``."""
        spectrum = torch.fft.rfft(frames)
        power = torch.view_as_real(spectrum).flatten(1).square_().T
        blocks = [
            torch.mm(getattr(self, f"bands{i}"), power[low:high]) for i, (low, high) in enumerate(self._rows)
        ]
        return compress_(torch.cat(blocks), self.config.log)


def compress_(mel: Tensor, log: Log) -> Tensor:
    """Take the logarithm of a power spectrum, in place."""
    if log == "db":
        return mel.clamp_min_(1e-10).log_().mul_(10 / math.log(10))  # log10_ takes longer
    return mel.mul_(10_000).add_(1).log10_()


def rescaled(mel: Tensor, power: Tensor, log: Log) -> Tensor:
    """Return the log-mel of the spectrum whose log-mel is `mel` times `power`, which broadcasts to it.

    Power below the floor of ``"db"`` is lost, as it is in the front end itself.
    """
    linear = torch.pow(10.0, mel / 10) if log == "db" else (torch.pow(10.0, mel) - 1) / 10_000
    return compress_(linear * power, log)

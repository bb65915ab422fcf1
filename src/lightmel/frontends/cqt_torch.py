"""`CqtFrontend`: from a wave to the constant-Q frames of a `CqtConfig`: whole, in a batch, or as a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from . import cqt_numpy
from .base import check_samples
from .cqt import CqtConfig
from .cqt_numpy import CHUNK, OUTPUTS, REACH, Span
from .mel_torch import compress_
from .module import Framewise, check_wave, no_autocast


class CqtFrontend(Framewise):
    """Wave in, constant-Q frames out: ``(..., samples)`` to ``(..., n_bins, frames)``.

    Frames lie ``256 * hop_factor`` samples apart, the first one's middle on the first sample; before and
    behind the sound there are zeros. Squared magnitudes go through the logarithm that the configuration says.
    The magnitudes are those of librosa's ``cqt(sparsity=0)``; `lightmel.frontends.cqt_numpy` says how.

    Whatever the precision of the wave, it is computed in float32, and float32 comes out. Autocast and casts
    of the module change nothing. Its buffers follow the module's device. Its stream keeps some seconds of
    sound, which every block computes again: long blocks are faster.

    Parameters
    ----------
    config
        What it computes.

    Examples
    --------
    >>> CqtFrontend(CqtConfig(16_000, 84, 2))(torch.zeros(16_000)).shape
    torch.Size([84, 32])
    """

    config: CqtConfig
    halving: Tensor

    def __init__(self, config: CqtConfig) -> None:
        super().__init__(config)
        self._octaves = cqt_numpy.octaves(config)
        self.hop = config.hop_length
        ((begin, end), *_) = cqt_numpy.spans(self._octaves, self.hop, 0, 1)
        self.before, self.after = -begin, end
        self._place(torch.get_default_device())

    def _place(self, device: torch.device) -> None:
        """Compute the buffers in float64 and round them once, to float32 on `device`."""
        arrays = {f"filters{i}": part.filters.T for i, part in enumerate(self._octaves)}
        for name, values in {**arrays, "halving": cqt_numpy.half_matrix()}.items():
            rounded = torch.from_numpy(values.astype("float32")).to(device)
            self.register_buffer(name, rounded, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CqtFrontend:
        """Follow `fn` to its device only: a cast would lose digits that casting back cannot bring back."""
        self._place(fn(torch.empty(0, device=self.halving.device)).device)
        return self

    def checked(self, wave: Tensor) -> Tensor:
        """Return a wave as float32."""
        check_wave(wave, self.halving.device)
        return wave.float()

    def check_length(self, samples: int) -> None:
        """Raise `ShapeError` for no samples."""
        check_samples(samples)

    def frames(self, sound: Tensor, offset: int, first: int, stop: int) -> Tensor:
        """Return constant-Q frames; see `Framewise`."""
        rows_at_once = max(1, CHUNK // max(1, sound.shape[1]))
        step = max(1, CHUNK // self.hop)
        with no_autocast(sound.device.type):
            found = [
                torch.cat(
                    [self._power(some, offset, at, min(at + step, stop)) for at in range(first, stop, step)]
                    or [some.new_empty(len(some), self.config.n_bins, 0)],
                    dim=2,
                )
                for some in torch.split(sound, rows_at_once)
            ]
            power = torch.cat(found) if found else sound.new_empty(0, self.config.n_bins, stop - first)
            return compress_(power, self.config.log)

    def _power(self, sound: Tensor, offset: int, first: int, stop: int) -> Tensor:
        """Return the squared magnitudes of the frames `first` to `stop`, ``(rows, n_bins, stop - first)``."""
        begin, end = offset, offset + sound.shape[1]
        samples, found = end, []
        for level, span in enumerate(cqt_numpy.spans(self._octaves, self.hop, first, stop)):
            if level:
                samples = (samples + 1) // 2
                kept = max(span[0], 0), min(span[1], samples)
                sound, (begin, end) = self._halved(sound, begin, kept), kept
            sound, begin, end = _padded(sound, begin, end, span), *span
            for i, part in enumerate(self._octaves):
                if part.level == level:
                    filters = cast(Tensor, getattr(self, f"filters{i}"))
                    step = self.hop >> level
                    at = first * step - part.half - begin
                    every = sound[:, at:].unfold(1, len(filters), step)[:, : stop - first]
                    real, imaginary = (every @ filters).square().chunk(2, dim=2)
                    found.append((real + imaginary).transpose(1, 2))
        return torch.cat(found[::-1], dim=1)  # the lowest bins come first

    def _halved(self, sound: Tensor, begin: int, wanted: Span) -> Tensor:
        """Return samples of half the rate, of sounds of which those from `begin` on are at hand."""
        count = wanted[1] - wanted[0]
        if count <= 0:
            return sound[:, :0]
        rows = -(-count // OUTPUTS)
        start = 2 * wanted[0] - REACH
        stop = start + 2 * OUTPUTS * (rows - 1) + len(self.halving)
        piece = _padded(sound, begin, begin + sound.shape[1], (start, stop))
        return (piece.unfold(1, len(self.halving), 2 * OUTPUTS) @ self.halving).flatten(1)[:, :count]


def _padded(sound: Tensor, begin: int, end: int, span: Span) -> Tensor:
    """Return what lies in `span` of sounds whose samples `begin` to `end` are at hand; zeros elsewhere."""
    low, high = max(begin, span[0]), min(end, span[1])
    if low >= high:
        return sound.new_zeros(len(sound), span[1] - span[0])
    return F.pad(sound[:, low - begin : high - begin], (low - span[0], span[1] - high))

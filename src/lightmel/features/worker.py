"""Computing the features of one sound file, in this process or in one of `lightmel.workers`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import audio
from .._each import attempt, reason
from .._steady import steady
from ..errors import AudioError, LightmelError, ShapeError
from ..frontends import build_frontend, known_kinds, make_known
from ..workers import Handler
from .journal import Description

_WHOLE_SECONDS = 300.0
"""Sound up to this length goes through the front end at once, longer sound in blocks of this length."""


def settings_for(description: Description) -> dict[str, Any]:
    """Return the settings of `serve`, for this process or another."""
    return {"description": description.to_json(), "frontends": known_kinds()}


def serve(settings: Mapping[str, Any]) -> Handler:
    """Return the handler from a path to ``{"frames", "failed"}`` and the bytes of its clip."""
    make_known(settings["frontends"])
    maker = FeatureMaker(Description.from_json(settings["description"]))
    return lambda path: maker.clip(Path(path))


class FeatureMaker:
    """Computes the clips of files for a store."""

    @steady
    def __init__(self, description: Description) -> None:
        self._description = description
        self._layout = description.layout
        self._frontend = build_frontend(description.config)

    @steady
    def clip(self, path: Path) -> tuple[dict[str, Any], bytes]:
        """Return the number of frames and the bytes of a file's clip, or the reason why there is none."""
        made = attempt(path, self._packed, path)
        if isinstance(made, LightmelError):
            return {"frames": 0, "failed": reason(made, path)}, b""
        frames, data = made
        return {"frames": frames, "failed": None}, data

    def _packed(self, path: Path) -> tuple[int, bytes]:
        features = self._features(path)
        if not features.shape[1]:
            raise AudioError(f"{self._description.config.slug} makes no frames of it.")
        if not np.isfinite(features).all():
            raise AudioError("its samples are so large that the features are not finite: scale them to ±1.")
        return features.shape[1], self._layout.pack(features)

    def _features(self, path: Path) -> NDArray[np.float32]:
        import torch

        sr, seconds = self._description.config.sr, self._description.excerpt_seconds
        with torch.inference_mode():
            if seconds is not None:
                features = self._frontend(torch.from_numpy(audio.middle(path, sr, seconds)))
            else:
                blocks = audio.stream(path, sr, _WHOLE_SECONDS)
                first, second = next(blocks), next(blocks, None)
                if second is None:
                    features = self._frontend(torch.from_numpy(first))
                else:
                    stream = self._frontend.stream()
                    parts = [stream.push(torch.from_numpy(block)) for block in chain((first, second), blocks)]
                    features = torch.cat([*parts, stream.flush()], -1)
        array: NDArray[np.float32] = features.numpy()
        rows = self._description.config.rows
        if array.ndim != 2 or len(array) != rows or array.dtype.kind != "f":
            name = type(self._frontend).__name__
            raise ShapeError(
                f"{name} gave {array.dtype} of shape {array.shape}; wanted are floats "
                f"of shape ({rows}, frames), as its configuration's shape() says."
            )
        return array

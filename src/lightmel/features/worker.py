"""Computing the features of one sound file, in this process or in one of `lightmel.workers`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import LightmelError, ShapeError
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

    def __init__(self, description: Description) -> None:
        self._description = description
        self._layout = description.layout
        self._frontend = build_frontend(description.config)

    def clip(self, path: Path) -> tuple[dict[str, Any], bytes]:
        """Return the number of frames and the bytes of a file's clip, or the reason why there is none."""
        try:
            features = self._features(path)
        except (LightmelError, OSError) as error:
            return {"frames": 0, "failed": str(error).removeprefix(f"{audio.name_of(path)}: ")}, b""
        if not features.shape[1]:
            return {"frames": 0, "failed": f"{self._description.config.slug} makes no frames of it."}, b""
        if not np.isfinite(features).all():
            why = "its samples are so large that the features are not finite: scale them to ±1."
            return {"frames": 0, "failed": why}, b""
        return {"frames": features.shape[1], "failed": None}, self._layout.pack(features)

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

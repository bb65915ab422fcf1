"""Five public checkpoints of Won, Ferraro, Bogdanov, Serra, read strictly into this library's networks.

"Evaluation of CNN-based automatic music tagging models", SMC 2020. Their code is MIT; no license is stated
for the weights, so they are fetched at a pinned commit or given as a local file, and are no part of this
package.

The authors' repository is `UPSTREAM`. What is fetched comes from a fork of it, `REPOSITORY`, at a commit that
is one of upstream's own: the five files are the same to the byte. The forks lack the larger checkpoints
(upstream's msd/musicnn among them), which are hence not here; crnn is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..frontends import MelConfig
from .public import Family, PublicCheckpoint, State, read_tensors

if TYPE_CHECKING:
    import torch

UPSTREAM = "minzwon/sota-music-tagging-models"
REPOSITORY = "jose-jvmas/sota-music-tagging-models"
COMMIT = "36aa13b7205ff156cf4dcab60fd69957da453151"
WON2020 = MelConfig(16_000, 96, 1, "db", mel_scale="htk", mel_norm="none", pad_mode="reflect")
"""The front end of all five: torchaudio's defaults of its day."""


_NEGLIGIBLE = 1e-30
"""Weights below this change no sum in float32."""

_UNUSED = ("spec.", "num_batches_tracked")
"""Their front end's window and filter bank (`WON2020` sets ours), and a counter that evaluation ignores."""

_RENAMED = {
    "fcn": {"spec_bn": "input_norm", "dense": "head"}
    | {f"layer{i + 1}.{part}": f"blocks.{i}.{part}" for i in range(5) for part in ("conv", "bn")},
    "musicnn": {"spec_bn": "input_norm", "dense1": "dense", "bn": "dense_norm", "dense2": "head"}
    | {f"layers.{i}.{part}": f"timbre.{i}.{part}" for i in range(2) for part in ("conv", "bn")}
    | {f"layers.{i + 2}.{part}": f"temporal.{i}.{part}" for i in range(3) for part in ("conv", "bn")}
    | {f"layer{i + 1}.{part}": f"middle.{i}.{part}" for i in range(3) for part in ("conv", "bn")},
}


def _read(data: bytes, path: Path, record: PublicCheckpoint) -> State:
    names = _RENAMED[record.architecture]
    state: State = {}
    for key, tensor in read_tensors(data, path).items():
        if key.startswith(_UNUSED[0]) or key.endswith(_UNUSED[1]):
            continue
        layer, _, leaf = key.rpartition(".")
        if layer not in names:
            raise WeightsError(f"{path} holds {key!r}, which {record.architecture} has no place for.")
        state[f"{names[layer]}.{leaf}"] = _without_negligible(tensor)
    return state


def _without_negligible(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` with zeros for weights that change no sum in float32.

    Weight decay left an eighth of jamendo's musicnn, and more of msd's fcn, at subnormal numbers, with
    which a processor multiplies ten times as slowly.
    """
    return tensor.masked_fill(tensor.abs() < _NEGLIGIBLE, 0.0)


FAMILY = Family(
    citation="Won et al. 2020",
    repository=REPOSITORY,
    commit=COMMIT,
    license="not stated (code: MIT)",
    config=WON2020,
    read=_read,
    provenance={"upstream": UPSTREAM},
)


def _record(vocabulary: str, architecture: str, size: int, sha256: str) -> PublicCheckpoint:
    samples = {"fcn": 29, "musicnn": 3}[architecture] * WON2020.sr
    shape = list(WON2020.shape(samples))
    variant = {"variant": "pons"} if architecture == "musicnn" else {}
    return PublicCheckpoint(
        name=f"public:won2020-{vocabulary}-{architecture}",
        family=FAMILY,
        path=f"models/{vocabulary}/{architecture}/best_model.pth",
        bytes=size,
        sha256=sha256,
        vocabulary=vocabulary,
        network={"architecture": architecture, "input_shape": shape, "n_tags": 50, **variant},
        segment_samples=samples,
    )


CHECKPOINTS: dict[str, PublicCheckpoint] = {
    record.name: record
    for record in (
        _record("mtat", "fcn", 1902811, "e89d751202d38c3ae69855782bc27010f87051958dbec64f5aa762364dbac271"),
        _record(
            "mtat", "musicnn", 3257172, "690ace3bb5d49d90dd38fe3ec05a1185350b3bc3742bd7ee941f56b649b2c893"
        ),
        _record("msd", "fcn", 1902815, "6012aa7eecf864a8081faedca56af054521e8dfb9c5c98659a3dd5d3e1e66f21"),
        _record(
            "jamendo", "fcn", 1902815, "7bce08a66dbc70d096b0a330f44b4cacd9aa25519b83489fbb98f2164a194e2b"
        ),
        _record(
            "jamendo", "musicnn", 3257168, "66280f4859376377c47f64313c7ac889a3201fdb06a01bf6e94ac6e619081bb5"
        ),
    )
}

"""Four taggers of Pons and Serra (musicnn), ISC licence, read without TensorFlow into our networks.

J. Pons, X. Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", ISMIR 2019
late-breaking. "Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019. Code developed by Jordi
Pons", ISC licence, which allows every use.

A published ``.data-00000-of-00001`` holds the variables of a TensorFlow checkpoint one behind the other, and
those of its optimizer, as little-endian float32. ``pons2019.json`` says where each begins, so that reading
one is slicing: nothing in it is ever run. The same variables may come as a NumPy ``.npz``; its bytes depend
on who packed it, so it is known by the hash of its numbers.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import WeightsError
from ..frontends import MelConfig
from .public import Family, PublicCheckpoint, State, file_digest

PONS2019 = MelConfig(16_000, 96, 1, "log")
"""The front end of all four."""
FRAMES = 187
"""Frames of one segment."""
EPS = 1e-3
"""What every normalisation adds to the variance."""

Variables: TypeAlias = "dict[str, bytes]"
"""The little-endian float32 numbers of each variable, by its name."""


@dataclass(frozen=True)
class _File:
    """One published file: its size and hashes, and of each variable the offset and shape."""

    size: int
    sha256: str
    variables_sha256: str
    git_blob: str
    offsets: Mapping[str, tuple[int, tuple[int, ...]]]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each variable."""
        return {name: 4 * math.prod(shape) for name, (_, shape) in self.offsets.items()}

    def slice(self, data: bytes) -> Variables:
        """Return the variables in the bytes of a published file."""
        return {name: data[at : at + self.sizes[name]] for name, (at, _) in self.offsets.items()}


@cache
def files() -> dict[str, _File]:
    """Return the table of the published files, by their names."""
    table = json.loads(resources.files(__package__).joinpath("pons2019.json").read_text(encoding="utf-8"))
    layouts = {
        layout: {name: (at, tuple(shape)) for name, (at, *shape) in own.items()}
        for layout, own in table["layouts"].items()
    }
    return {
        name: _File(offsets=layouts[entry.pop("layout")], **entry) for name, entry in table["files"].items()
    }


def variables_digest(variables: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of the variables' numbers, one behind the other in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(variables):
        digest.update(variables[name])
    return digest.hexdigest()


def _digest(data: bytes, path: Path) -> str:
    """Return the SHA-256 of the published file that holds these numbers, whichever container `path` is."""
    if path.suffix != ".npz":
        return file_digest(data, path)
    digest = variables_digest(_unpack(data, path))
    for file in files().values():
        if file.variables_sha256 == digest:
            return file.sha256
    raise WeightsError(
        f"{path} has the variables of a checkpoint of musicnn, but other numbers than any published one: it "
        f"is another version, or was changed. Known are {', '.join(files())}."
    )


def _unpack(data: bytes, path: Path) -> Variables:
    """Return the variables of an ``.npz``; what is no array of float32 of the shape that fits is refused.

    Names, shapes and sizes are those of the table before anything is unpacked, so that no file can ask for
    more memory than they have; objects, which would have to be unpickled, are never read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            file = min(files().values(), key=lambda file: len(set(file.offsets) ^ set(names)))
            missing = list(Counter([*file.offsets]) - Counter(names))
            others = list(Counter(names) - Counter([*file.offsets]))
            if missing or others:
                odd = [f"lacks {name}" for name in missing[:2]] + [f"has {name}" for name in others[:2]]
                raise WeightsError(f"{path} is none of a checkpoint of musicnn: it {', '.join(odd)}.")
            return {
                name: _array(archive, name, shape, path) for name, (_, shape) in sorted(file.offsets.items())
            }
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        SyntaxError,
        ValueError,
    ) as error:
        raise WeightsError(f"{path} is no readable .npz file: {error}.") from error


_HEADER = 1024
"""More bytes than the header of such an array has."""


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], path: Path) -> bytes:
    """Return the numbers of one array in the format of ``.npy``, versions 1 to 3 (NumPy's NEP 1)."""
    size = 4 * math.prod(shape)
    with archive.open(f"{name}.npy") as member:
        data = member.read(size + _HEADER)
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    header: Any = None
    if data.startswith(b"\x93NUMPY") and start <= _HEADER:
        header = ast.literal_eval(data[8 + width : start].decode("latin-1").strip())
    wanted = {"descr": "<f4", "fortran_order": False, "shape": shape}
    if header != wanted or len(data) - start != size:
        raise WeightsError(
            f"{path}: {name} is no array of float32 of the shape {shape}; nothing in it was run."
        )
    return data[start:]


_LAYERS = {
    "musicnn": {
        "conv2d": "timbre.0.conv",
        "conv2d_1": "timbre.1.conv",
        "conv2d_2": "temporal.0.conv",
        "conv2d_3": "temporal.1.conv",
        "conv2d_4": "temporal.2.conv",
        "conv2d_5": "middle.0.conv",
        "conv2d_6": "middle.1.conv",
        "conv2d_7": "middle.2.conv",
        "batch_normalization": "input_norm",
        "batch_normalization_1": "timbre.0.bn",
        "batch_normalization_2": "timbre.1.bn",
        "batch_normalization_3": "temporal.0.bn",
        "batch_normalization_4": "temporal.1.bn",
        "batch_normalization_5": "temporal.2.bn",
        "batch_normalization_6": "middle.0.bn",
        "batch_normalization_7": "middle.1.bn",
        "batch_normalization_8": "middle.2.bn",
        "batch_normalization_9": "pooled",
        "dense": "dense",
        "batch_normalization_10": "dense_norm",
        "dense_1": "head",
    },
    "vgg": {
        "batch_normalization": "input_norm",
        **{f"{i + 1}CNN": f"blocks.{i}.conv" for i in range(5)},
        **{f"batch_normalization_{i + 1}": f"blocks.{i}.bn" for i in range(5)},
        "dense": "head",
    },
}
"""Their layers, and ours."""
_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _read(data: bytes, path: Path, record: PublicCheckpoint) -> State:
    import torch

    file = files()[Path(record.path).parent.name]
    variables = _unpack(data, path) if path.suffix == ".npz" else file.slice(data)
    layers = _LAYERS[record.architecture]
    state: State = {}
    for name, (_, shape) in file.offsets.items():
        layer, _, leaf = name.rpartition("/")
        values = torch.frombuffer(bytearray(variables[name]), dtype=torch.float32).reshape(shape)
        if leaf == "kernel" and layers[layer].startswith("middle"):
            values = values.squeeze(2)  # (frames, in, 1, out): to a convolution over time alone
        if leaf == "kernel":  # (frames, bands, in, out) to (out, in, bands, frames); (in, out) to (out, in)
            values = values.permute(*reversed(range(values.ndim)))
        state[f"{layers[layer]}.{_LEAVES[leaf]}"] = values.contiguous()
    return _FINISH[record.architecture](state)


def _finish_musicnn(state: State) -> State:
    """Fold the normalisation of what is pooled into the dense layer, and sort the channels of both.

    They pool to max0, mean0, max1, mean1, ..., we to every maximum and then every mean.
    """
    import torch

    gamma, beta, mean, variance = (
        state.pop(f"pooled.{leaf}").double() for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + EPS).sqrt()
    weight = state["dense.weight"].double()
    bias = state["dense.bias"].double() + weight @ (beta - mean * scale)
    weight = weight * scale
    state["dense.weight"] = torch.cat([weight[:, 0::2], weight[:, 1::2]], dim=1).float()
    state["dense.bias"] = bias.float()
    return state


def _finish_vgg(state: State) -> State:
    """Sort the head's inputs: they flatten frames, bands, channels, we channels, bands, frames."""
    weight = state["head.weight"]
    channels = len(state["blocks.4.conv.bias"])
    by_frame = weight.reshape(len(weight), -1, channels)  # one band is left
    state["head.weight"] = by_frame.transpose(1, 2).flatten(1).contiguous()
    return state


_FINISH = {"musicnn": _finish_musicnn, "vgg": _finish_vgg}

FAMILY = Family(
    citation="Pons and Serra 2019",
    repository="jordipons/musicnn",
    commit="516acb2a0ff5ef73f64547898e018e793152c506",
    license="ISC",
    config=PONS2019,
    read=_read,
    digest=_digest,
    provenance={"copyright": "(c) 2019 Music Technology Group, Universitat Pompeu Fabra"},
)

_NETWORKS: dict[str, dict[str, Any]] = {
    "musicnn": {
        "variant": "pons",
        "timbre": [[0.4, 7, 204], [0.7, 7, 204]],
        "temporal": [[128, 51], [64, 51], [32, 51]],
        "every_band": True,
    },
    "vgg": {
        "widths": [128] * 5,
        "pools": [[1, 4], [2, 2], [2, 2], [2, 2], [4, 4]],
        "strides": [[2, 2], [2, 2], [2, 2], [2, 2], [4, 4]],
    },
}


def _records() -> Iterator[PublicCheckpoint]:
    for name, file in files().items():
        data, _, architecture = name.partition("_")
        vocabulary = {"MTT": "mtat", "MSD": "msd"}[data]
        yield PublicCheckpoint(
            name=f"public:pons2019-{vocabulary}-{architecture}",
            family=FAMILY,
            path=f"musicnn/{name}/.data-00000-of-00001",
            bytes=file.size,
            sha256=file.sha256,
            vocabulary=vocabulary,
            network={
                "architecture": architecture,
                "input_shape": [PONS2019.n_mels, FRAMES],
                "n_tags": 50,
                "relu_first": True,
                "eps": EPS,
                **_NETWORKS[architecture],
            },
            segment_samples=(FRAMES - 1) * PONS2019.hop_length,
        )


CHECKPOINTS: dict[str, PublicCheckpoint] = {record.name: record for record in _records()}

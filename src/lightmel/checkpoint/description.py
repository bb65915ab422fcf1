"""What a tagger's file says about it in its header; reading that needs no torch.

The description is one JSON document in the header of a safetensors file. Format 2 names the kind of the
front end. Format 1, which older files have, knew mel-spectrograms only; it is read for good.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from .._files import beside, check_target
from ..errors import ConfigError, WeightsError
from ..frontends import FrontendConfig, config_from_dict

FORMAT = "lightmel-tagger-2"
_FORMAT_1 = "lightmel-tagger-1"
KEY = "lightmel"
"""The entry of the header that holds the document."""
PUBLISHED_SUFFIXES = (".pth", ".pt", ".npz", ".data-00000-of-00001")
"""What the names of other people's checkpoints end in, which `lightmel.hub` knows; no tagger's file does."""


@dataclass(frozen=True)
class Description:
    """Everything about a tagger but its network.

    Parameters
    ----------
    name, version
        What scores are signed with.
    license
        Of the weights; the code's is another.
    config
        The front end that the network was trained behind.
    tags
        One for each output, in order.
    segment_samples
        Samples at ``config.sr`` in one pass of the network.
    thresholds
        Scores above which a tag holds, one a tag; empty where none were fitted.
    provenance
        Plain data: what it was trained on, how, and what was measured.
    exclusive
        Whether a piece of sound has one of the tags and no other, as with genres in folders: the best score
        then says which, and no threshold.

    Raises
    ------
    WeightsError
        If a segment is no number of samples, tags repeat, or thresholds and tags differ in number.
    """

    name: str
    version: str
    license: str
    config: FrontendConfig
    tags: tuple[str, ...]
    segment_samples: int
    thresholds: tuple[float, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    exclusive: bool = False

    def __post_init__(self) -> None:
        samples = self.segment_samples
        if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
            raise WeightsError(f"segment_samples is a whole number from 1 on, not {samples!r}.")
        for what, texts in (
            ("name, version and license", (self.name, self.version, self.license)),
            ("tags", self.tags),
        ):
            if not all(isinstance(text, str) for text in texts):
                raise WeightsError(f"{what} are texts, not {texts!r}.")
            if not all(_is_text(text) for text in texts):
                raise WeightsError(f"{what} hold half a character, which no file can: {texts!r}.")
        if not all(
            isinstance(t, Real) and not isinstance(t, bool) and math.isfinite(t) for t in self.thresholds
        ):
            raise WeightsError(f"thresholds are finite numbers, not {self.thresholds!r}.")
        if not isinstance(self.exclusive, bool):
            raise WeightsError(f"exclusive is true or false, not {self.exclusive!r}.")
        if not isinstance(self.provenance, Mapping):
            raise WeightsError(f"provenance is a mapping of plain data, not {self.provenance!r}.")
        if len(set(self.tags)) != len(self.tags):
            twice = sorted({t for t in self.tags if self.tags.count(t) > 1})
            raise WeightsError(f"Each tag may stand once; {', '.join(twice)} stands more often.")
        if self.thresholds and len(self.thresholds) != len(self.tags):
            raise WeightsError(f"{len(self.thresholds)} thresholds do not fit {len(self.tags)} tags.")

    @property
    def segment_seconds(self) -> float:
        """Seconds of sound in one pass of the network."""
        return self.segment_samples / self.config.sr

    @property
    def verified(self) -> frozenset[str] | None:
        """The tags whose scores labels made chances; None where nothing is known.

        They are those of `lightmel.calibrate`, and those that `lightmel.finetune` has added since.
        """
        calibration = self.provenance.get("calibration")
        named = calibration.get("verified") if isinstance(calibration, Mapping) else None
        return frozenset(map(str, named)) if isinstance(named, (list, tuple)) else None

    def check(self, input_shape: Sequence[int], n_tags: int) -> None:
        """Raise `WeightsError` unless a network of that input shape and so many outputs fits."""
        shape = self.config.shape(self.segment_samples)
        if tuple(input_shape) != shape:
            raise WeightsError(
                f"The network wants an input of {tuple(input_shape)}, but {self.config.slug} makes {shape} "
                f"of {self.segment_samples} samples."
            )
        if n_tags != len(self.tags):
            raise WeightsError(f"The network has {n_tags} outputs for {len(self.tags)} tags.")


def read_description(path: str | os.PathLike[str]) -> Description:
    """Return what a tagger's file says about it; its tensors are not read, and torch is not needed.

    Raises
    ------
    WeightsError
        If it is no such file, or its description is damaged.
    """
    return parse(read_header(path), path)[0]


def read_network(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of the network in a tagger's file, as `lightmel.models.build` takes it.

    Raises
    ------
    WeightsError
        As `read_description`.
    """
    return parse(read_header(path), path)[1]


def read_header(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises
    ------
    WeightsError
        If it is none that can be read.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise WeightsError(f"{path} is no readable safetensors file, but a folder or a device.")
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise WeightsError(f"There is no file {path}.") from None
    except (SafetensorError, OSError) as error:
        own = beside(path, ".safetensors")
        hint = f" The tagger beside it is {own}." if own != Path(path) and own.exists() else ""
        raise WeightsError(f"{path} is no readable safetensors file: {error}.{hint}") from error


def parse(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> tuple[Description, dict[str, Any]]:
    """Return description and network of the document in a header; `path` is for the messages.

    Raises
    ------
    WeightsError
        If there is none, or it is damaged or of a format that is not known here.
    """
    if KEY not in metadata:
        raise WeightsError(f"{path} holds tensors but no tagger: its header lacks the entry {KEY!r}.")
    try:
        document = json.loads(metadata[KEY])
        written = document["format"]
        if written not in (FORMAT, _FORMAT_1):
            raise WeightsError(
                f"it has the format {written!r}, this version reads {FORMAT!r} and {_FORMAT_1!r}. "
                "A newer lightmel may read it."
            )
        if written == _FORMAT_1:
            document = _upgraded(document)
        description = Description(
            name=document["name"],
            version=document["version"],
            license=document["license"],
            config=_read_config(document["frontend"]),
            tags=tuple(_list(document["tags"])),
            segment_samples=document["segment_samples"],
            thresholds=tuple(_list(document["thresholds"])),
            provenance=document["provenance"],
            exclusive=document.get("exclusive", False),
        )
        return description, dict(document["network"])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path}: the description of the tagger is damaged ({error}).") from error


def _is_text(text: str) -> bool:
    """Return whether UTF-8 can write it: not half a surrogate pair, as in names of other encodings."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is wanted, not {value!r}")
    return value


def _read_config(plain: Mapping[str, Any]) -> FrontendConfig:
    try:
        return config_from_dict(plain)
    except ConfigError as error:
        raise WeightsError(f"this version of lightmel cannot make its front end: {error}") from error


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of format 1 as one of format 2."""
    fields = dict(document)
    fields["license"], fields["frontend"] = fields.pop("licence"), {"kind": "mel", **fields.pop("config")}
    return fields


def to_document(description: Description, network: Mapping[str, Any]) -> str:
    """Return the JSON document of a tagger; `ValueError` or `TypeError` where it is not plain data."""
    document = {
        "format": FORMAT,
        "name": description.name,
        "version": description.version,
        "license": description.license,
        "frontend": description.config.to_dict(),
        "network": dict(network),
        "tags": list(description.tags),
        "segment_samples": description.segment_samples,
        "thresholds": [float(t) for t in description.thresholds],
        "provenance": dict(description.provenance),
    }
    if description.exclusive:  # other files are as those of versions that do not know it
        document["exclusive"] = True
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False)
    # The name of a folder in the provenance may be no text: what UTF-8 cannot hold becomes JSON's escape.
    return text.encode("utf-8", "backslashreplace").decode()


def check_path(path: str | os.PathLike[str]) -> None:
    """Make sure, before the work and not after it, that a tagger and what lies beside it can be written.

    Figures go beside it as ``.json``, scores of clips as ``.npz``, a card as ``.md``, settings as ``.toml``.

    Raises
    ------
    WeightsError
        If nothing can be written there; if `path` would be overwritten by what lies beside it, or be taken
        for something else.
    """
    for end in PUBLISHED_SUFFIXES:
        if Path(path).name.endswith(end):
            raise WeightsError(
                f"{path}: what ends in {end} is read as a published checkpoint. Name it .safetensors, or "
                f"anything."
            )
    if not _is_text(Path(path).name):
        raise WeightsError(f"{Path(path).name!r} is no text in UTF-8: name it otherwise.")
    check_target(path, (".json", ".md", ".npz", ".toml"), WeightsError)
    other = beside(path, ".safetensors")
    if other != Path(path) and other.exists():
        raise WeightsError(
            f"{path}: the files beside it would take the place of those beside {other}. Name it otherwise."
        )

"""What a published checkpoint of other people is, whichever family it is of, and how it is read strictly.

A family is a module beside this one, such as `won2020`, with its `Family` and its ``CHECKPOINTS``;
`catalogue` puts them together.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import vocabularies
from ..checkpoint import Description
from ..errors import WeightsError
from ..frontends import FrontendConfig

if TYPE_CHECKING:
    import torch

    from ..models import TaggingNetwork

State: TypeAlias = "dict[str, torch.Tensor]"
_COUNTER = "num_batches_tracked"
"""A counter of normalisations that evaluation ignores, and that published files lack or need not have."""


def file_digest(data: bytes, path: Path) -> str:
    """Return the SHA-256 of a file's bytes; `path` is for a family whose files come in several containers."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Family:
    """What the checkpoints of one publication share.

    Parameters
    ----------
    citation
        Authors and year, as a line of ``lightmel models`` names them.
    repository, commit
        Where the files are fetched from, on GitHub.
    release
        Whether they are the assets of a release, whose name `commit` is, and not files of the repository.
    license
        Of the weights.
    config
        The front end of them all.
    read
        ``(data, path, record)`` to the tensors in `data`, the bytes of the published file at `path`, under
        this library's names; it runs nothing in them, and raises `WeightsError` for what is not there.
    digest
        ``(data, path)`` to the SHA-256 of the published file that holds these numbers.
    provenance
        More that a description says of where they come from.
    """

    citation: str
    repository: str
    commit: str
    license: str
    config: FrontendConfig
    read: Callable[[bytes, Path, PublicCheckpoint], State] = field(repr=False)
    digest: Callable[[bytes, Path], str] = field(default=file_digest, repr=False)
    release: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublicCheckpoint:
    """Where one published file lies, what it must hash to, and what its outputs mean.

    Parameters
    ----------
    name
        What `lightmel.load` takes.
    family
        What it shares with others.
    path
        Inside the family's repository.
    bytes, sha256
        Of the file.
    vocabulary
        The list of its tags.
    network
        As `lightmel.models.build` takes it.
    segment_samples
        Samples in one pass of the network.
    """

    name: str
    family: Family
    path: str
    bytes: int
    sha256: str
    vocabulary: str
    network: Mapping[str, Any]
    segment_samples: int

    @property
    def license(self) -> str:
        """Of the weights."""
        return self.family.license

    @property
    def architecture(self) -> str:
        """Of the network."""
        architecture: str = self.network["architecture"]
        return architecture

    @property
    def url(self) -> str:
        """Where the file is fetched from."""
        if self.family.release:
            folder = f"https://github.com/{self.family.repository}/releases/download/{self.family.commit}"
            return f"{folder}/{self.path}"
        return f"https://raw.githubusercontent.com/{self.family.repository}/{self.family.commit}/{self.path}"

    @property
    def cached(self) -> str:
        """Name of the file in the cache: the tagger's, so much of the hash, and what the file's ends in."""
        stem = self.name.removeprefix("public:")
        return f"{stem}-{self.sha256[:12]}{_ending(self.path)}"

    @property
    def description(self) -> Description:
        """What the tagger is, as its own file would say it."""
        return Description(
            name=self.name,
            version=self.family.commit[:12],
            license=self.license,
            config=self.family.config,
            tags=vocabularies.read(self.vocabulary),
            segment_samples=self.segment_samples,
            provenance={
                "repository": self.family.repository,
                **self.family.provenance,
                "commit": self.family.commit,
                "path": self.path,
            },
        )


def _ending(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rindex(".") :]


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that has at most `limit` of them.

    Raises
    ------
    WeightsError
        If it has more, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(data) > limit:
        raise WeightsError(f"{path} is none of the published checkpoints: it has more than {limit:,} bytes.")
    return data


def read_tensors(data: bytes, path: Path) -> State:
    """Return the tensors in the bytes of a file that ``torch.save`` wrote, by their names; nothing is run.

    Raises
    ------
    WeightsError
        If it holds anything else.
    """
    import torch

    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise WeightsError(f"{path} holds something else than tensors, and nothing in it was run.") from error
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    ):
        raise WeightsError(f"{path} holds something else than tensors by their names.")
    return dict(found)


def identify(path: Path, records: Mapping[str, PublicCheckpoint]) -> PublicCheckpoint:
    """Return the one of `records` that the published file at `path` is, known by its SHA-256.

    Raises
    ------
    WeightsError
        If it is none of them.
    """
    data = read_bytes(path, _limit(*records.values()))
    families = {id(record.family): record.family for record in records.values()}
    for family in families.values():
        digest = family.digest(data, path)
        for record in records.values():
            if record.family is family and record.sha256 == digest:
                return record
    raise WeightsError(
        f"{path} is none of the published checkpoints that are known here ({len(data):,} bytes, SHA-256 "
        f"{file_digest(data, path)[:16]}...): it is another version, or damaged, or another's. Known are "
        f"{', '.join(records)}."
    )


def read_checkpoint(path: Path, record: PublicCheckpoint) -> TaggingNetwork:
    """Read the published file at `path` as the network that `record` describes, in evaluation mode.

    Raises
    ------
    WeightsError
        If it is not the published file, or a tensor is missing, superfluous or misshapen.
    """
    # Imported here, so that the records can be read without torch.
    import torch

    from ..models import build

    family = record.family
    data = read_bytes(path, _limit(record))
    digest = family.digest(data, path)
    if digest != record.sha256:
        cut = f" ({len(data):,} bytes for {record.bytes:,})" if len(data) != record.bytes else ""
        raise WeightsError(
            f"{path} is not the published file of {record.name}{cut}: its SHA-256 is {digest[:16]}..., "
            f"expected {record.sha256[:16]}.... Fetch {record.path} of {family.repository} at "
            f"{family.commit[:12]} again."
        )
    state = family.read(data, path, record)
    with torch.device("meta"):  # nothing is drawn: the global random state stays as it is
        network = build(record.network)
    own = {k: v for k, v in network.state_dict().items() if not k.endswith(_COUNTER)}
    wrong = sorted(set(own) ^ set(state)) + [k for k in own if k in state and own[k].shape != state[k].shape]
    if wrong:
        raise WeightsError(f"{path} does not fit {record.architecture}: {', '.join(wrong[:5])}.")
    counters = {k: torch.zeros_like(v, device="cpu") for k, v in network.state_dict().items() if k not in own}
    network.load_state_dict(state | counters, strict=True, assign=True)
    return network.eval()


def _limit(*records: PublicCheckpoint) -> int:
    """Return more bytes than any container of these has, and few enough to read."""
    return 2 * max(record.bytes for record in records)

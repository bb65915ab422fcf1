"""MagnaTagATune: 25,863 clips of 29 s, tagged by players of a game."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .. import vocabularies
from ..errors import DataError, nearest
from . import annotation_files
from .dataset import SPLITS, Dataset, Split
from .rows import Rows

NAME = "magnatagatune"
CITATION = (
    "E. Law, K. West, M. Mandel, M. Bay, J. S. Downie: Evaluation of Algorithms Using Games: The Case of "
    "Music Tagging. Proc. ISMIR 2009. The clean split: M. Won, A. Ferraro, D. Bogdanov, X. Serra: Evaluation "
    "of CNN-based Automatic Music Tagging Models. Proc. SMC 2020."
)
LICENSE = "Audio: Magnatune, CC BY-NC-SA 1.0. Annotations: offered for research by their authors."
SOURCE = "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset"
COUNTS: Mapping[str, Mapping[str, int]] = {
    "full": {"train": 18_706, "valid": 1_825, "test": 5_329},
    "clean": {"train": 15_247, "valid": 1_529, "test": 4_332},
}
"""Clips of each protocol."""
ANNOTATIONS = "annotations_final.csv"
SUMS: Mapping[str, str] = {
    ANNOTATIONS: "99b94e95825d4fa576386a5367b9c96e0ec636e9f9c240aceb492f4728f68c3c",
    "clip_info_final.csv": "cb6108a10d3a91f0bfd7d2fbec2382559d15f20c8d28093f14e12162a47a3e78",
    "clean_split/binary.npy": "bce4443710884ab486a352c4e2096372ea20726e65ae765f0d6b7004765fe059",
    "clean_split/tags.npy": "26bee55306d732ccb4616d74e9270223077101043c49eae4670021a0b72b107c",
    "clean_split/train.npy": "014769228ab2164ca205ed92c57e88b312830f2032d27f2a19a241cd298d3b3e",
    "clean_split/valid.npy": "c144ccf4911b1f633b2dd1cb7f3c494c9a216e79d56adb52f092e39b59559952",
    "clean_split/test.npy": "b2bcedc2d087946ae24d1be302569494697d56a6ebf56345febe5ac658f254da",
    "lee_split/train_list_pub.cP": "76c9eec0fdd3d7533adda0cb4be4844996ed7469586b337bfc97f863fd3ec09a",
    "lee_split/valid_list_pub.cP": "b3528613a6832ce49f11628fd21103dbf266e43086b465798221519ae64c2917",
    "lee_split/test_list_pub.cP": "43edc3b8951f7c9e613f618ab828ab80036b2e2e604bb20a93e623b186b63b30",
    "lee_split/y_valid_pub.npy": "f6e4d6c5b51c47766dd1c611be423d92a266d8b974990d38e6201953be080411",
    "lee_split/y_test_pub.npy": "80af41037ae7ad8285864a5e91cbd31e59cdda0d86ab5e1d7124d1afc3cc1821",
}
"""SHA-256 of the published files, unpacked. Only the first is read; the others are compared if they exist."""
FOLDERS: Mapping[str, str] = {"train": "0123456789ab", "valid": "c", "test": "def"}
"""The folders of the sound, one hexadecimal digit each, of each split."""
BROKEN = frozenset(
    {
        "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
        "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
        "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin"
        "-88-117.mp3",
    }
)
"""Clips whose sound cannot be decoded; all three are in the folders of train."""


def load_magnatagatune(
    root: str | os.PathLike[str],
    protocol: str = "full",
    *,
    annotations: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Read MagnaTagATune with its 50 most frequent tags, in the order of the published label matrices.

    Groups are artists, with whom the file names begin. The published splits do not keep them apart.

    Parameters
    ----------
    root
        Folder of the sound: ``<root>/<hexadecimal digit>/<name>.mp3``.
    protocol
        ``"full"``: all clips but the three broken ones, also those without any of the 50 tags. ``"clean"``:
        only clips with at least one of the 50 tags, as in the lists of Won et al. 2020 and in their order.
        Where the annotations have other numbers of clips than `COUNTS`, the protocol of the result names
        them, and the log has a warning.
    annotations
        Folder of ``annotations_final.csv`` (or ``.gz``); by default `root`.

    Raises
    ------
    DataError
        If the protocol is unknown, or the annotations are missing or of another form.
    """
    if protocol not in COUNTS:
        raise DataError(
            f"{NAME} has no protocol {protocol!r}; there are {' and '.join(COUNTS)}."
            f"{nearest(protocol, COUNTS)}"
        )
    folder = Path(root if annotations is None else annotations)
    tags = vocabularies.read("mtat")
    clips = _read(annotation_files.require(folder, ANNOTATIONS, SOURCE), tags)
    parts = {digit: name for name, digits in FOLDERS.items() for digit in digits}
    chosen: dict[str, list[str]] = {name: [] for name in SPLITS}
    for path, labels in clips.items():
        if path not in BROKEN and (protocol == "full" or any(labels)):
            chosen[parts[path[0]]].append(path)
    return Dataset(
        name=NAME,
        protocol=annotation_files.counted(NAME, protocol, chosen, COUNTS[protocol]),
        root=Path(root),
        tags=tags,
        splits={
            name: Split(
                tuple(paths),
                np.array([clips[p] for p in paths], dtype=np.bool_).reshape(-1, len(tags)),
                tuple(_artist(p) for p in paths),
            )
            for name, paths in chosen.items()
        },
        citation=CITATION,
        license=LICENSE,
        source=SOURCE,
        annotations=folder,
        sums=SUMS,
    )


def _artist(path: str) -> str:
    return path.partition("/")[2].partition("-")[0]


def _read(file: Path, tags: tuple[str, ...]) -> dict[str, list[bool]]:
    """Return the labels of each clip by its path, in the order of the file, whose columns tabs separate."""
    try:
        table = Rows(file, delimiter="\t")
    except DataError as error:
        raise DataError(
            f"{error} MagnaTagATune's own {ANNOTATIONS} is separated by tabs: fetch it again."
        ) from None
    header = table.header
    missing = [name for name in (*tags, "mp3_path") if name not in header]
    if missing:
        raise DataError(
            f"{file} lacks the columns {', '.join(missing[:5])}: it is not MagnaTagATune's {ANNOTATIONS}, "
            "which is separated by tabs. Fetch it again."
        )
    columns, place = [header.index(tag) for tag in tags], header.index("mp3_path")
    digits = "".join(FOLDERS.values())
    clips: dict[str, list[bool]] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        if any(row[i] not in ("0", "1") for i in columns):
            raise DataError(f"{file}, line {line}, is damaged. Fetch the file again.")
        path = row[place]
        if path[:1] not in digits or path[1:2] != "/" or path in clips:
            raise DataError(
                f"{file}, line {line}: {path!r} is no path of a clip, or stands twice. Fetch the file again."
            )
        clips[path] = [row[i] == "1" for i in columns]
    return clips

"""MTG-Jamendo: 55,000 whole tracks with tags by those who uploaded them, in five splits by artist."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import DataError, nearest
from . import annotation_files
from .dataset import Dataset, Split

NAME = "mtg-jamendo"
CITATION = (
    "D. Bogdanov, M. Won, P. Tovstogan, A. Porter, X. Serra: The MTG-Jamendo Dataset for Automatic Music "
    "Tagging. Machine Learning for Music Discovery Workshop, ICML 2019."
)
LICENSE = "Metadata: CC BY-NC-SA 4.0. Audio: Creative Commons, each track its own."
SOURCE = "https://github.com/MTG/mtg-jamendo-dataset"
COUNTS: Mapping[str, Mapping[str, int]] = {
    "top50tags": {"train": 32_136, "valid": 10_888, "test": 11_356},
    "genre": {"train": 32_572, "valid": 11_043, "test": 11_479},
    "instrument": {"train": 14_395, "valid": 5_466, "test": 5_115},
    "moodtheme": {"train": 9_949, "valid": 3_802, "test": 4_231},
}
"""Tracks of each subset in split 0."""
TAG_COUNTS: Mapping[str, int] = {"top50tags": 50, "genre": 87, "instrument": 40, "moodtheme": 56}
N_FOLDS = 5
SUMS: Mapping[str, str] = {
    "genre-train": "c1cddb195ef94a07e67e227bf38e2a79389c1820950702b8c8894a2096f21e54",
    "genre-validation": "3e203b4c573db6ec63a06c7066cf678dcf673a68ad5694c8fed22637c270dbcf",
    "genre-test": "cf917388eebfa7d17d363c2fca037e2379ac027e31aa6dbe92e8dbf409ac5098",
    "instrument-train": "f844a85f0b40bb31a5d5b448ddfc10a68d7b38ecc760673d23df2bd6e7ca0f4c",
    "instrument-validation": "a5060020013ac5ba65c6470ee83fc2a9785db1fe554b55065de08aa9b0cca70d",
    "instrument-test": "8c1ab86f3212b6484106baf2e78f70dd5520b917607487ac98999adbd5d7ab1a",
    "moodtheme-train": "e5e9e798364b34bd241b773e5011809b24429edf471f27cf21dd8181077ba2d4",
    "moodtheme-validation": "ecaa279367153476884d84d686479e566234cef1814bd6892a8755ba0a550dbf",
    "moodtheme-test": "4341b5586bb3e5a80a882ce9ef33cb8b1bdaa7df856246ecc5de188dfe1cf394",
    "top50tags-train": "6dee445ddd1901286184c2059d3d5eef7486f083ae80de9011705f852a850dde",
    "top50tags-validation": "4f5f0f0a7662f523b45727476f67d799d6e98151b2c585a8e94e19d980ad93c1",
    "top50tags-test": "3ede06a35e6cb27e1dbe8cfc84708a607622e30e5cd0a7199fce6c081124bc35",
}
"""SHA-256 of the lists of split 0, unpacked; none are published with the other four."""
PARTS: Mapping[str, str] = {"train": "train", "valid": "validation", "test": "test"}
HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")


def load_jamendo(
    root: str | os.PathLike[str],
    subset: str = "top50tags",
    fold: int = 0,
    *,
    annotations: str | os.PathLike[str] | None = None,
    low: bool = False,
) -> Dataset:
    """Read one subset of MTG-Jamendo in one of its five splits.

    Tags begin with their category (``genre---rock``) and are in the order of their code points, which is that
    of the public checkpoints. Groups are artists. Where the lists of split 0 have other numbers of tracks
    than `COUNTS`, the protocol names them, and the log has a warning.

    Parameters
    ----------
    root
        Folder of the sound: ``<root>/41/241.mp3``.
    subset
        ``"top50tags"``, ``"genre"``, ``"instrument"`` or ``"moodtheme"``.
    fold
        Number of the split, 0 to 4.
    annotations
        Checkout of the authors' repository, with ``data/splits/split-0/autotagging_top50tags-train.tsv`` and
        the others (or ``.gz``); by default `root`.
    low
        Whether the sound is the smaller download, whose files are called ``241.low.mp3``.

    Raises
    ------
    DataError
        If the subset or fold is unknown, or its lists are missing or of another form.
    """
    if subset not in COUNTS:
        raise DataError(
            f"{NAME} has no subset {subset!r}; there are {', '.join(COUNTS)}.{nearest(subset, COUNTS)}"
        )
    if fold not in range(N_FOLDS):
        raise DataError(
            f"{NAME}: fold is one of its splits, 0 to {N_FOLDS - 1}, not {fold!r}.", names=["fold"]
        )
    folder = Path(root if annotations is None else annotations)
    parts = {
        name: _read(annotation_files.require(folder, _list(subset, fold, part), SOURCE))
        for name, part in PARTS.items()
    }
    tags = tuple(sorted({tag for tracks in parts.values() for _, _, own in tracks for tag in own}))
    column = {tag: i for i, tag in enumerate(tags)}
    splits = {}
    for name, tracks in parts.items():
        labels = np.zeros((len(tracks), len(tags)), dtype=np.bool_)
        for row, (_, _, own) in enumerate(tracks):
            labels[row, [column[tag] for tag in own]] = True
        paths = (path.removesuffix(".mp3") + ".low.mp3" if low else path for path, _, _ in tracks)
        splits[name] = Split(tuple(paths), labels, tuple(artist for _, artist, _ in tracks))
    protocol = f"{subset}, split {fold}"
    return Dataset(
        name=NAME,
        protocol=annotation_files.counted(NAME, protocol, splits, COUNTS[subset]) if fold == 0 else protocol,
        root=Path(root),
        tags=tags,
        splits=splits,
        citation=CITATION,
        license=LICENSE,
        source=SOURCE,
        annotations=folder,
        sums={_list(subset, 0, part): SUMS[f"{subset}-{part}"] for part in PARTS.values()}
        if fold == 0
        else {},
    )


def _list(subset: str, fold: int, part: str) -> str:
    return f"data/splits/split-{fold}/autotagging_{subset}-{part}.tsv"


def _read(file: Path) -> list[tuple[str, str, list[str]]]:
    """Return path, artist and tags of each track; rows differ in length, for each tag is a column."""
    lines = annotation_files.text(file).replace("\r\n", "\n").rstrip("\n").split("\n")
    if not lines or tuple(lines[0].split("\t")) != HEADER:
        raise DataError(f"{file} does not begin with the columns {' '.join(HEADER)}. Fetch it again.")
    tracks = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) < len(HEADER) or not all(fields):
            raise DataError(f"{file}, line {number}, is damaged: {line[:60]!r}. Fetch the file again.")
        tracks.append((fields[3], fields[1], fields[5:]))
    return tracks

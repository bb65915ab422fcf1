"""Million Song Dataset with 50 Last.fm tags, in the split of Lee et al. that the literature reports."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import vocabularies
from ..errors import DataError
from . import annotation_files, pickles
from .dataset import SPLITS, Dataset, Split

NAME = "msd"
CITATION = (
    "T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman, P. Lamere: The Million Song Dataset. Proc. ISMIR 2011. "
    "The split: J. Lee, J. Park, K. L. Kim, J. Nam: Sample-level Deep Convolutional Neural Networks for "
    "Music Auto-tagging Using Raw Waveforms. Proc. SMC 2017."
)
LICENSE = "Split lists: MIT. Tags: Last.fm, for research. Audio: 30 s previews, which may not be shared."
SOURCE = "https://github.com/jongpillee/music_dataset_split/tree/master/MSD_split"
COUNTS: Mapping[str, Mapping[str, int]] = {"lee": {"train": 201_680, "valid": 11_774, "test": 28_435}}
"""Clips of the only protocol."""
TRAIN_CLIPS = 201_680
"""Clips at the beginning of the training list that are for training; the rest are for validation."""
SUMS: Mapping[str, str] = {
    "50tagList.txt": "3b0fd183e73f8a0e7e65b955f61ec3034e517a6427cacad8ec0c2f16394d0770",
    "filtered_list_train.cP": "70027dfacff194ffc2649e277c0a6f015d285e54d5394ddfc8db0a9ec244649b",
    "filtered_list_test.cP": "084441297cdd59c944d104e940d864588e61458eaf8e7c1bf008cc9236e2a99a",
    "labels_valid.npy": "8d0504ed6232d3f44c796568a7885c38ac85a3feecab6baad929c0234188e84b",
    "labels_test.npy": "3373ce64d7bec0aaa03b96be328010ce8e9edd766d75909038411c1d0897183a",
}
"""SHA-256 of the published lists and of the labels taken from them, unpacked."""
VECTORS = "msd_id_to_tag_vector.cP"
TO_7D, TO_PATH = "MSD_id_to_7D_id.pkl", "7D_id_to_path.pkl"

log = logging.getLogger("lightmel")


def load_msd(root: str | os.PathLike[str], *, annotations: str | os.PathLike[str] | None = None) -> Dataset:
    """Read the Million Song Dataset's 50 Last.fm tags.

    The two lists of track ids are required. Labels are taken from ``labels_<split>.npy`` (rows as in the
    lists), or where that is missing from ``msd_id_to_tag_vector.cP``; a split whose labels are in neither is
    absent. Paths are taken from the dictionaries ``MSD_id_to_7D_id.pkl`` and ``7D_id_to_path.pkl``; a clip
    that is not in them gets the path that Lee's code gives it, ``A/B/C/TRABC....mp3``, and a warning counts
    those. Every file may be a ``.gz``. Artists are unknown, so each clip is its own group.

    Parameters
    ----------
    root
        Folder of the sound.
    annotations
        Folder of the lists, labels and dictionaries; by default `root`.

    Raises
    ------
    DataError
        If a list is missing, or a file is of another form.
    """
    folder = Path(root if annotations is None else annotations)
    both = _ids(annotation_files.require(folder, "filtered_list_train.cP", SOURCE))
    if len(both) <= TRAIN_CLIPS:
        raise DataError(
            f"{folder}: filtered_list_train holds {len(both):,} clips, where the first {TRAIN_CLIPS:,} are "
            "for training and the rest for validation. Fetch it again."
        )
    ids = {
        "train": both[:TRAIN_CLIPS],
        "valid": both[TRAIN_CLIPS:],
        "test": _ids(annotation_files.require(folder, "filtered_list_test.cP", SOURCE)),
    }
    tags = vocabularies.read("msd")
    labels, absent = _labels(folder, ids, len(tags))
    paths = _paths(folder, [i for name in labels for i in ids[name]])
    splits = {}
    for name, found in labels.items():
        own = tuple(paths.get(i) or f"{i[2]}/{i[3]}/{i[4]}/{i}.mp3" for i in ids[name])
        splits[name] = Split(own, found, own)
    for name, why in absent.items():
        log.warning("%s: no %s: %s", NAME, name, why)
    return Dataset(
        name=NAME,
        protocol="lee",
        root=Path(root),
        tags=tags,
        splits=splits,
        citation=CITATION,
        license=LICENSE,
        source=SOURCE,
        annotations=folder,
        sums=SUMS,
        absent=absent,
    )


def _ids(file: Path) -> list[str]:
    found = pickles.load(file)
    if not isinstance(found, list) or not all(isinstance(i, str) and len(i) > 5 for i in found):
        raise DataError(f"{file} is not a list of track ids. Fetch it again.")
    return found


def _dictionary(file: Path, values: type) -> dict[str, Any]:
    found = pickles.load(file)
    if not isinstance(found, dict) or not all(isinstance(v, values) for v in found.values()):
        raise DataError(f"{file} is not a dictionary of {values.__name__}. Fetch it again.")
    return found


def _labels(
    folder: Path, ids: Mapping[str, Sequence[str]], n_tags: int
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, str]]:
    """Return the labels of each split that has them, and the reasons why the others have none."""
    files = {name: annotation_files.find(folder, f"labels_{name}.npy") for name in SPLITS}
    source = annotation_files.find(folder, VECTORS)
    # They are a million small arrays, and read only if a split needs them.
    vectors = _dictionary(source, np.ndarray) if source and not all(files.values()) else {}
    labels, absent = {}, {}
    for name in SPLITS:
        file = files[name]
        if file is not None:
            found = annotation_files.array(file)
            if found.shape != (len(ids[name]), n_tags):
                raise DataError(
                    f"{file} has the shape {found.shape}, not {(len(ids[name]), n_tags)}: its rows are not "
                    "those of the list. Fetch both again."
                )
            labels[name] = found.astype(np.bool_)
        elif lost := sum(i not in vectors for i in ids[name]):
            absent[name] = (
                f"the labels of {lost:,} of its {len(ids[name]):,} clips are missing. Put {VECTORS} or "
                f"labels_{name}.npy into {folder}; it comes from {SOURCE}."
            )
        else:
            labels[name] = _stacked(vectors, ids[name], n_tags, source)
    return labels, absent


def _stacked(
    vectors: Mapping[str, NDArray[Any]], ids: Sequence[str], n_tags: int, source: Path | None
) -> NDArray[np.bool_]:
    found = np.zeros((len(ids), n_tags), dtype=np.bool_)
    for row, track in enumerate(ids):
        if vectors[track].size != n_tags:
            raise DataError(
                f"{source}: {track} has {vectors[track].size} tags, not {n_tags}. Fetch it again."
            )
        found[row] = vectors[track].reshape(-1)  # (50, 1)
    return found


def _paths(folder: Path, ids: Sequence[str]) -> dict[str, str]:
    to_7d, to_path = (annotation_files.find(folder, name) for name in (TO_7D, TO_PATH))
    found = {}
    if to_7d and to_path:
        numbers = _dictionary(to_7d, str)
        wanted = {i: numbers[i] for i in ids if i in numbers}
        del numbers  # a million entries, of which a quarter is needed
        places = _dictionary(to_path, str)
        found = {i: places[n] for i, n in wanted.items() if n in places}
    if lost := len(ids) - len(found):
        log.warning(
            "%s: %s and %s in %s lack the path of %d of %d clips; these are looked for as "
            "A/B/C/TRABC....mp3.",
            NAME,
            TO_7D,
            TO_PATH,
            folder,
            lost,
            len(ids),
        )
    return found

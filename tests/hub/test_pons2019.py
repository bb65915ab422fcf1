"""The four taggers of Pons and Serra: golden logits, both containers, the byte table, and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lightmel
from lightmel import hub
from lightmel.hub import pons2019

TOLERANCE = 5e-5
NAMES = {
    "MTT_musicnn": "public:pons2019-mtat-musicnn",
    "MTT_vgg": "public:pons2019-mtat-vgg",
    "MSD_musicnn": "public:pons2019-msd-musicnn",
    "MSD_vgg": "public:pons2019-msd-vgg",
}


@pytest.mark.parametrize("clip", ["strings", "song"])
@pytest.mark.parametrize("theirs", NAMES)
def test_golden_logits(theirs: str, clip: str, shared: Path) -> None:
    folder = shared / "teachers" / "pons"
    golden = np.load(folder / "golden.npz")
    tagger = lightmel.load(folder / f"{theirs}.npz")
    assert tagger.name == NAMES[theirs]
    mels = torch.from_numpy(golden[f"{clip}.flac/mel"]).transpose(1, 2)
    with torch.inference_mode():
        logits = tagger.network(mels).numpy()
    assert np.abs(logits - golden[f"{clip}.flac/{theirs}"]).max() <= TOLERANCE


def test_there_are_four_each_pinned() -> None:
    assert set(pons2019.CHECKPOINTS) == set(NAMES.values())
    for theirs, name in NAMES.items():
        record = hub.CHECKPOINTS[name]
        assert record.license == "ISC"
        assert record.path == f"musicnn/{theirs}/.data-00000-of-00001"
        assert record.family.config.shape(record.segment_samples) == (96, 187)
        assert len(record.family.commit) == 40

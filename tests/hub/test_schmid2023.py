"""EfficientAT's mn04: golden embedding and logits, the classes that are kept, and bad files."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightmel
from lightmel import audio, hub, vocabularies
from lightmel.errors import WeightsError
from lightmel.hub import schmid2023

TOLERANCE = 1e-4
NAME = "public:schmid2023-audioset-mobilenet"
RECORD = schmid2023.CHECKPOINTS[NAME]


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "teachers" / "efficientat"


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return folder / "mn04_as_mAP_432.pt"


@pytest.fixture(scope="module")
def golden(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "golden.npz"))


@pytest.fixture(scope="module")
def kept(folder: Path) -> list[int]:
    """The index of each of our tags among their classes, by the names in the published list."""
    with (folder / "classes.csv").open(encoding="utf-8") as table:
        index = {row["name"]: int(row["index"]) for row in csv.DictReader(table)}
    return [index[tag] for tag in vocabularies.read("audioset-music")]


def changed(
    file: Path, out: Path, change: Callable[[dict[str, Any]], Any]
) -> tuple[Path, hub.PublicCheckpoint]:
    """The published file with other contents, and a record that holds it for the published one."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    path = out / "changed.pt"
    torch.save(change(state), path)
    return path, trusting(path)


def trusting(path: Path) -> hub.PublicCheckpoint:
    return replace(RECORD, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


# What it gives


@pytest.mark.parametrize("clip", ["song", "strings"])
def test_golden_embedding_and_logits(
    clip: str, file: Path, golden: dict[str, np.ndarray], kept: list[int]
) -> None:
    network = lightmel.load(file).network
    mel = torch.from_numpy(golden[f"{clip}/mel"])[None]
    with torch.inference_mode():
        pooled, logits = network.pooled(mel)[0].numpy(), network(mel)[0].numpy()
    assert pooled.shape == (384,)
    assert np.abs(pooled - golden[f"{clip}/embedding"]).max() <= TOLERANCE
    assert logits.shape == (224,)
    assert np.abs(logits - golden[f"{clip}/logits"][kept]).max() <= TOLERANCE


@pytest.mark.parametrize("clip", ["song", "strings"])
def test_tagging_ten_seconds_gives_the_golden_scores(
    clip: str, shared: Path, file: Path, golden: dict[str, np.ndarray], kept: list[int]
) -> None:
    tagger = lightmel.load(file)
    sr = tagger.config.sr
    wave = audio.load(shared / "teachers" / "golden" / f"{clip}.flac", sr)[: 10 * sr]
    tagging = tagger.tag(wave, sr)
    expected = 1 / (1 + np.exp(-golden[f"{clip}/logits"][kept].astype(float)))
    assert np.abs(np.array([tagging[tag] for tag in tagger.tags]) - expected).max() <= TOLERANCE
    assert not tagging.padded
    assert tagging.model == NAME


def test_tagging_a_song_says_music(shared: Path, file: Path) -> None:
    tagging = lightmel.load(file).tag(shared / "teachers" / "golden" / "song.flac")
    assert tagging.seconds == 30
    assert tagging["Music"] == max(tagging[tag] for tag in vocabularies.read("audioset-music")) > 0.5
    assert tagging["Speech"] < 0.3


def test_the_224_classes_that_are_kept_are_in_audiosets_order(file: Path, kept: list[int]) -> None:
    tagger = lightmel.load(file)
    assert tagger.tags == vocabularies.read("audioset-music")
    assert len(tagger.tags) == 224
    assert kept == sorted(set(kept))
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    head = tagger.network.head
    assert torch.equal(head.weight, theirs["classifier.5.weight"][kept])
    assert torch.equal(head.bias, theirs["classifier.5.bias"][kept])


# The record and the file


def test_it_is_pinned_and_free() -> None:
    assert list(schmid2023.CHECKPOINTS) == [NAME]
    assert hub.CHECKPOINTS[NAME] is RECORD
    assert RECORD.license == "MIT"
    assert len(RECORD.sha256) == 64
    assert RECORD.url == (
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt"
    )
    assert RECORD.cached.endswith(".pt")
    described = RECORD.description
    assert described.config.slug == "32k-kaldi128"
    assert described.segment_seconds == 10
    assert "Florian Schmid" in described.provenance["copyright"]
    assert "CC BY 4.0" in described.provenance["classes"]
    network = RECORD.network
    described.check(network["input_shape"], network["n_tags"])


def test_the_record_is_that_of_the_published_file(file: Path) -> None:
    assert file.stat().st_size == RECORD.bytes
    assert hub.identify(file) is RECORD
    assert lightmel.load(file).description == RECORD.description


def test_a_fetched_file_loads_by_name(file: Path, cache: Path, network: Any) -> None:
    fake = network(file.read_bytes())
    assert hub.fetch_public(RECORD).read_bytes() == file.read_bytes()
    assert fake.asked == [RECORD.url]
    assert lightmel.load(NAME).tags == vocabularies.read("audioset-music")
    assert len(fake.asked) == 1


def test_every_tensor_of_the_file_is_used(file: Path) -> None:
    """None is left at its first draw, and none is read twice."""
    network = hub.read_checkpoint(file, RECORD)
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    own = network.state_dict()

    def sums(state: dict[str, Any], leave_out: tuple[str, ...]) -> list[float]:
        return sorted(
            float(v.double().sum())
            for k, v in state.items()
            if not k.startswith(leave_out) and not k.endswith("num_batches_tracked")
        )

    assert sums(own, ("input_norm.", "head.")) == pytest.approx(sums(theirs, ("classifier.5.",)), rel=1e-12)
    assert not network.training


def test_the_normalisation_that_theirs_lacks_changes_nothing(file: Path) -> None:
    network = hub.read_checkpoint(file, RECORD)
    mel = torch.randn(2, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.input_norm(mel), mel, rtol=1e-6, atol=1e-6)


def test_reading_does_not_touch_the_global_random_state(file: Path) -> None:
    before = torch.get_rng_state()
    hub.read_checkpoint(file, RECORD)
    assert torch.equal(torch.get_rng_state(), before)


# Bad files


@pytest.mark.parametrize("size", [0, 1, 1_000, 2_000_000, RECORD.bytes - 1])
def test_a_truncated_file_is_refused(size: int, tmp_path: Path, file: Path) -> None:
    path = tmp_path / "cut.pt"
    path.write_bytes(file.read_bytes()[:size])
    with pytest.raises(WeightsError, match=r"cut\.pt is none of the published checkpoints"):
        lightmel.load(path)
    with pytest.raises(
        WeightsError, match=rf"not the published file of {NAME} \({size:,} bytes for 4,066,513"
    ):
        hub.read_checkpoint(path, RECORD)
    # Even where its hash is believed.
    with pytest.raises(WeightsError, match=r"cut\.pt holds something else than tensors"):
        hub.read_checkpoint(path, trusting(path))


def test_a_file_with_another_digit_is_refused_by_its_hash(tmp_path: Path, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "bad.pt"
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=f"expected {RECORD.sha256[:16]}"):
        hub.read_checkpoint(path, RECORD)
    with pytest.raises(WeightsError, match=r"another version, or damaged"):
        lightmel.load(path)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "renamed layer": (
        lambda s: s.update({"features.99.0.weight": s.pop("features.0.0.weight")}),
        "'features.99.0.weight', which mobilenet has no place for",
    ),
    "renamed leaf": (
        lambda s: s.update({"features.0.1.wight": s.pop("features.0.1.weight")}),
        "first.bn.wight",
    ),
    "one block more": (
        lambda s: s.update({"features.17.block.0.0.weight": s["features.2.block.0.0.weight"]}),
        r"does not fit mobilenet: blocks\.16",
    ),
    "no block": (lambda s: s.update({"features.x.block.0.0.weight": s["classifier.2.bias"]}), "features.x"),
    "missing": (lambda s: s.pop("features.5.block.2.conc_se_layers.0.fc1.bias"), "squeeze_excitation"),
    "missing head": (lambda s: s.pop("classifier.5.weight"), r"does not fit mobilenet: head\.weight"),
    "misshapen": (lambda s: s.update({"classifier.2.bias": s["classifier.2.bias"][:9]}), "dense.bias"),
    "misshapen head": (lambda s: s.update({"classifier.5.bias": s["classifier.5.bias"][:300]}), "head.bias"),
    "headless": (lambda s: s.update({"classifier.5.bias": torch.tensor(1.0)}), "head.bias"),
    "no tensor": (lambda s: s.update({"classifier.5.bias": [0.0] * 527}), "something else than tensors"),
    "numbers for names": (lambda s: {3: s["classifier.5.bias"]}, "something else than tensors"),
    "a list": (lambda s: list(s.values()), "something else than tensors"),
    "one tensor": (lambda s: s["classifier.5.bias"], "something else than tensors"),
}


@pytest.mark.parametrize("case", list(CHANGES))
def test_a_file_that_does_not_fit_is_refused_by_what_differs(case: str, tmp_path: Path, file: Path) -> None:
    change, named = CHANGES[case]

    def done(state: dict[str, Any]) -> Any:
        result = change(state)
        return result if case in ("numbers for names", "a list", "one tensor") else state

    path, record = changed(file, tmp_path, done)
    with pytest.raises(WeightsError, match=named):
        hub.read_checkpoint(path, record)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, zipped: bool) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "trap.pt"
    torch.save({"classifier.5.weight": Trap()}, path, _use_new_zipfile_serialization=zipped)
    for record in (RECORD, trusting(path)):
        with pytest.raises(WeightsError):
            hub.read_checkpoint(path, record)
    with pytest.raises(WeightsError, match=r"trap\.pt holds something else than tensors, and nothing in it"):
        hub.read_checkpoint(path, trusting(path))
    with pytest.raises(WeightsError, match="none of the published"):
        lightmel.load(path)
    assert not (tmp_path / "executed").exists()

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightmel
from lightmel import hub, vocabularies
from lightmel.errors import WeightsError
from lightmel.hub import won2020

TOLERANCE = 1e-5
NAMES = list(won2020.CHECKPOINTS)


def local_file(shared: Path, name: str) -> Path:
    record = hub.CHECKPOINTS[name]
    return shared / "teachers" / f"{record.vocabulary}-{record.architecture}.pth"


def changed(
    shared: Path, out: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> tuple[Path, hub.PublicCheckpoint]:
    """A published file with other contents, and a record that holds it for the published one."""
    state = torch.load(local_file(shared, name), map_location="cpu", weights_only=True)
    change(state)
    path = out / "changed.pth"
    torch.save(state, path)
    return path, replace(hub.CHECKPOINTS[name], sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_there_are_five_each_pinned() -> None:
    assert sorted(name.removeprefix("public:won2020-") for name in NAMES) == [
        "jamendo-fcn",
        "jamendo-musicnn",
        "msd-fcn",
        "mtat-fcn",
        "mtat-musicnn",
    ]
    for record in won2020.CHECKPOINTS.values():
        assert len(record.sha256) == 64
        assert record.vocabulary in vocabularies.VOCABULARIES
        assert record.path == f"models/{record.vocabulary}/{record.architecture}/best_model.pth"
    assert len(won2020.COMMIT) == 40


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_that_of_the_published_file(name: str, shared: Path) -> None:
    path, record = local_file(shared, name), hub.CHECKPOINTS[name]
    assert path.stat().st_size == record.bytes
    assert hub.identify(path) is record


@pytest.mark.parametrize("clip", ["strings", "song"])
@pytest.mark.parametrize("name", NAMES)
def test_golden_scores(name: str, clip: str, shared: Path) -> None:
    folder = shared / "teachers" / "golden"
    record = hub.CHECKPOINTS[name]
    golden = json.loads((folder / f"{clip}.json").read_text())["models"][
        f"{record.vocabulary}-{record.architecture}"
    ]
    tagger = lightmel.load(local_file(shared, name))
    assert tagger.tags == vocabularies.read(record.vocabulary)
    modes: dict[str, Any] = {"eval": 16, "centre": "center"}  # as the golden file has them
    for mode, segments in modes.items():
        tagging = tagger.tag(folder / f"{clip}.flac", segments=segments)
        scores = np.array([tagging[tag] for tag in tagger.tags])
        worst = np.abs(scores - golden[mode]).max()
        assert worst <= TOLERANCE, f"{mode}: {worst}"
        assert tagging.seconds == 30
        assert not tagging.padded
        assert tagging.model == name


def test_golden_scores_of_an_array_are_those_of_the_file(shared: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = shared / "teachers" / "golden" / "song.flac"
    wave, sr = soundfile.read(path, dtype="float32")
    tagger = lightmel.load(local_file(shared, "public:won2020-mtat-musicnn"))
    assert tagger.tag(wave, sr, segments=16) == tagger.tag(path, segments=16)


def test_the_filter_bank_is_theirs(shared: Path) -> None:
    """Their filter bank is in every file; ours is computed in double precision."""
    from lightmel.frontends import mel_filter_bank

    state = torch.load(local_file(shared, "public:won2020-msd-fcn"), map_location="cpu", weights_only=True)
    theirs = state["spec.mel_scale.fb"].double().T
    assert (mel_filter_bank(won2020.WON2020) - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("name", ["public:won2020-mtat-fcn", "public:won2020-jamendo-musicnn"])
def test_every_tensor_of_the_file_is_used(name: str, shared: Path) -> None:
    """None is left at its first draw, and none is read twice."""
    path, record = local_file(shared, name), hub.CHECKPOINTS[name]
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = hub.read_checkpoint(path, record)
    own = [v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")]
    theirs = [
        v for k, v in state.items() if not k.startswith("spec.") and not k.endswith("num_batches_tracked")
    ]
    sums = [sorted(float(v.double().sum()) for v in side) for side in (own, theirs)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)
    assert not network.training


@pytest.mark.parametrize("name", ["public:won2020-msd-fcn", "public:won2020-jamendo-musicnn"])
def test_no_subnormal_number_slows_a_network_down(name: str, shared: Path) -> None:
    path, tiny = local_file(shared, name), torch.finfo(torch.float32).tiny

    def subnormal(state: dict[str, Any]) -> int:
        return sum(int(((v != 0) & (v.abs() < tiny)).sum()) for v in state.values())

    assert subnormal(torch.load(path, map_location="cpu", weights_only=True)) > 70_000
    assert subnormal(hub.read_checkpoint(path, hub.CHECKPOINTS[name]).state_dict()) == 0


def test_reading_does_not_touch_the_global_random_state(shared: Path) -> None:
    before = torch.get_rng_state()
    record = hub.CHECKPOINTS["public:won2020-mtat-musicnn"]
    hub.read_checkpoint(local_file(shared, record.name), record)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_file_is_refused_by_its_hash(tmp_path: Path, shared: Path) -> None:
    record = hub.CHECKPOINTS["public:won2020-mtat-fcn"]
    data = bytearray(local_file(shared, record.name).read_bytes())
    data[-100] ^= 1
    path = tmp_path / "bad.pth"
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=f"expected {record.sha256[:16]}"):
        hub.read_checkpoint(path, record)
    with pytest.raises(WeightsError, match=r"none of the published checkpoints.*public:won2020"):
        hub.identify(path)
    with pytest.raises(WeightsError, match="none of the published checkpoints"):
        lightmel.load(path)


def test_a_sibling_is_not_taken_for_another(shared: Path) -> None:
    with pytest.raises(WeightsError, match="not the published file of public:won2020-mtat-fcn"):
        hub.read_checkpoint(
            local_file(shared, "public:won2020-msd-fcn"), hub.CHECKPOINTS["public:won2020-mtat-fcn"]
        )


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "renamed layer": (
        "mtat-musicnn",
        lambda s: s.update({"dense9.weight": s.pop("dense1.weight")}),
        "dense9",
    ),
    "renamed leaf": (
        "mtat-musicnn",
        lambda s: s.update({"bn.wight": s.pop("bn.weight")}),
        "dense_norm.wight",
    ),
    "missing": ("jamendo-fcn", lambda s: s.pop("layer3.conv.bias"), "blocks.2.conv.bias"),
    "superfluous": ("jamendo-fcn", lambda s: s.update({"extra": s["dense.bias"]}), "'extra'"),
    "misshapen": ("mtat-fcn", lambda s: s.update({"dense.bias": s["dense.bias"][:49]}), "head.bias"),
}


@pytest.mark.parametrize("case", list(CHANGES))
def test_a_file_that_does_not_fit_is_refused_by_what_differs(case: str, tmp_path: Path, shared: Path) -> None:
    short, change, named = CHANGES[case]
    path, record = changed(shared, tmp_path, f"public:won2020-{short}", change)
    with pytest.raises(WeightsError, match=named):
        hub.read_checkpoint(path, record)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "trap.pth"
    torch.save({"dense.weight": Trap()}, path)
    record = replace(
        hub.CHECKPOINTS["public:won2020-mtat-fcn"],
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    with pytest.raises(WeightsError, match=r"trap\.pth holds something else than tensors"):
        hub.read_checkpoint(path, record)
    assert not (tmp_path / "executed").exists()

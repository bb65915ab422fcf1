from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lightmel._files import beside
from lightmel.checkpoint import safetensors as weights
from lightmel.errors import WeightsError

Tiny = Callable[..., Any]


@pytest.fixture
def saved(tmp_path: Path, tiny: Tiny) -> Path:
    path = tmp_path / "tiny.safetensors"
    tiny().save(path)
    return path


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    found: dict[str, Any] = json.loads(data[8 : 8 + size])
    return found


def rewrite(
    path: Path,
    tensors: Callable[[dict[str, Any]], object] = lambda t: None,
    document: Callable[[dict[str, Any]], object] = lambda d: None,
) -> None:
    held, text = load_file(path), json.loads(header(path)["__metadata__"]["lightmel"])
    tensors(held)
    document(text)
    save_file(held, path, metadata={"lightmel": json.dumps(text)})


def test_what_is_saved_is_what_is_read(tmp_path: Path, tiny: Tiny) -> None:
    tagger = tiny(
        3,
        thresholds=(0.1, 0.2, 0.3),
        provenance={"trained on": ["a", "b"], "größe": 1.5, "deep": {"x": None}},
    )
    path = tmp_path / "a.safetensors"
    weights.save(path, tagger.network, tagger.description)
    network, description = weights.read(path)
    assert description == tagger.description
    assert not network.training
    own, read = tagger.network.state_dict(), network.state_dict()
    assert list(own) == list(read)
    assert all(torch.equal(own[k], read[k]) for k in own)
    mel = torch.randn(2, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network(mel), tagger.network(mel))


def test_the_same_tagger_is_always_the_same_bytes(tmp_path: Path, tiny: Tiny) -> None:
    for name in "ab":
        tiny(1, provenance=dict.fromkeys("zyx", 1)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    tiny(2, provenance=dict.fromkeys("zyx", 1)).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_reading_does_not_touch_the_global_random_state(saved: Path) -> None:
    before = torch.get_rng_state()
    weights.read(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_file_is_plain_safetensors_for_all_to_read(saved: Path) -> None:
    assert set(header(saved)["__metadata__"]) == {"lightmel"}
    document = json.loads(header(saved)["__metadata__"]["lightmel"])
    assert document["format"] == weights.FORMAT
    assert document["network"]["architecture"] == "musicnn"
    assert document["config"]["sr"] == 16_000
    assert saved.stat().st_mode & 0o777 == 0o644


def test_a_save_leaves_nothing_else_behind_and_replaces_whole(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("older")
    tiny().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert weights.read(path)[1].name == "tiny-0"


def test_where_it_cannot_be_written_it_says_so_and_cleans_up(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file.a.safetensors cannot be written"):
        tiny().save(tmp_path / "file" / "a.safetensors")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(WeightsError, match="folder is a folder"):
        tiny().save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_missing_folders_are_made_so_that_no_training_is_lost_to_one(tmp_path: Path, tiny: Tiny) -> None:
    tiny().save(tmp_path / "new" / "folder" / "a.safetensors")
    assert weights.read(tmp_path / "new" / "folder" / "a.safetensors")[1] == tiny().description


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf")])
def test_provenance_that_is_no_plain_data_is_refused(tmp_path: Path, tiny: Tiny, value: object) -> None:
    with pytest.raises(WeightsError, match="provenance"):
        tiny(provenance={"made by": value}).save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_numpy_thresholds_are_welcome(tmp_path: Path, tiny: Tiny) -> None:
    tiny(thresholds=tuple(np.array([0.25, 0.5, 0.75], dtype=np.float32))).save(tmp_path / "a")
    assert weights.read(tmp_path / "a")[1].thresholds == (0.25, 0.5, 0.75)


def test_a_description_refuses_what_contradicts_itself(tiny: Tiny) -> None:
    description = tiny().description
    with pytest.raises(WeightsError, match="drums stands more often"):
        replace(description, tags=("drums", "voice", "drums"))
    with pytest.raises(WeightsError, match="2 thresholds do not fit 3 tags"):
        replace(description, thresholds=(0.1, 0.2))


def test_a_network_that_does_not_fit_its_description_is_not_saved(tmp_path: Path, tiny: Tiny) -> None:
    tagger = tiny()
    for change, message in (
        ({"tags": ("a", "b")}, "3 outputs for 2 tags"),
        ({"segment_samples": 16_000}, r"wants mels of \(16, 9\).* makes \(16, 16\)"),
        ({"config": tagger.config.replace(n_mels=8)}, r"makes \(8, 9\)"),
    ):
        with pytest.raises(WeightsError, match=message):
            weights.save(tmp_path / "a", tagger.network, replace(tagger.description, **change))
    assert list(tmp_path.iterdir()) == []


TENSORS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing": (lambda t: t.pop("head.bias"), "head.bias is missing"),
    "renamed": (
        lambda t: t.update({"hood.bias": t.pop("head.bias")}),
        "head.bias is missing; hood.bias has no place",
    ),
    "superfluous": (lambda t: t.update(more=torch.zeros(1)), "more has no place"),
    "misshapen": (lambda t: t.update({"head.bias": torch.zeros(4)}), r"head.bias is \(4,\) where \(3,\)"),
    "nan": (lambda t: t["head.bias"].fill_(float("nan")), "head.bias is not finite"),
    "infinite": (lambda t: t["dense.weight"][0].fill_(float("inf")), "dense.weight is not finite"),
    "whole numbers": (
        lambda t: t.update({"head.bias": torch.zeros(3, dtype=torch.int32)}),
        "head.bias is torch.int32",
    ),
}


@pytest.mark.parametrize("case", list(TENSORS))
def test_tensors_that_do_not_fit_are_named(case: str, saved: Path) -> None:
    change, message = TENSORS[case]
    rewrite(saved, tensors=change)
    with pytest.raises(WeightsError, match=message) as refused:
        weights.read(saved)
    assert saved.name in str(refused.value)


def test_many_complaints_are_counted(saved: Path) -> None:
    rewrite(saved, tensors=lambda t: [t.pop(k) for k in list(t)[3:]])
    with pytest.raises(WeightsError, match=r"\(and \d+ more\)"):
        weights.read(saved)


DOCUMENTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other format": (lambda d: d.update(format="lightmel-tagger-9"), "lightmel-tagger-9.*newer lightmel"),
    "no format": (lambda d: d.pop("format"), "damaged.*format"),
    "no tags": (lambda d: d.pop("tags"), "damaged.*tags"),
    "no network": (lambda d: d.pop("network"), "damaged.*network"),
    "fewer tags": (lambda d: d["tags"].pop(), "3 outputs for 2 tags"),
    "a tag twice": (lambda d: d["tags"].__setitem__(0, "drums"), "drums stands more often"),
    "unknown architecture": (lambda d: d["network"].update(architecture="musicn"), "'musicnn'"),
    "other architecture": (
        lambda d: d.update(network={"architecture": "vgg", "input_shape": [16, 9], "n_tags": 3}),
        "does not fit the vgg.*is missing",
    ),
    "other sizes": (lambda d: d["network"].update(dense=7), r"dense.weight is \(6, 40\) where \(7, 40\)"),
    "unknown argument": (lambda d: d["network"].update(widht=7), "Did you mean 'width'"),
    "impossible front end": (lambda d: d["config"].update(hop_factor=0), "hop_factor=1"),
    "unknown option": (lambda d: d["config"].update(colour="red"), "damaged.*colour"),
    "other front end": (lambda d: d["config"].update(hop_factor=3), r"makes \(16, 11\)"),
    "nonsense segment": (lambda d: d.update(segment_samples="half a second"), "damaged|segment"),
    "negative segment": (lambda d: d.update(segment_samples=-8000), "segment|makes"),
    "wrong type": (lambda d: d.update(tags=5), "damaged"),
    "null": (lambda d: d.update(thresholds=None), "damaged"),
}


@pytest.mark.parametrize("case", list(DOCUMENTS))
def test_a_description_that_does_not_fit_is_refused(case: str, saved: Path) -> None:
    change, message = DOCUMENTS[case]
    rewrite(saved, document=change)
    with pytest.raises(WeightsError, match=message) as refused:
        weights.read(saved)
    assert saved.name in str(refused.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '"x"', "{", '{"format": []}'])
def test_a_document_of_another_kind_is_refused(text: str, saved: Path) -> None:
    save_file(load_file(saved), saved, metadata={"lightmel": text})
    with pytest.raises(WeightsError, match=saved.name):
        weights.read(saved)


def test_other_files_are_refused_for_what_they_are(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(WeightsError, match="There is no file"):
        weights.read(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        weights.read(tmp_path)
    for content in (b"", b"text", saved.read_bytes()[:-1], saved.read_bytes()[:100], b"\xff" * 4096):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(WeightsError, match="bad is no readable safetensors file"):
            weights.read(tmp_path / "bad")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(WeightsError, match="holds tensors but no tagger"):
        weights.read(tmp_path / "plain")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save(Trap(), tmp_path / "trap.safetensors")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        weights.read(tmp_path / "trap.safetensors")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [("a.json", "overwritten"), ("a.md", "overwritten"), ("a.pth", "published"), ("", "a folder")],
)
def test_a_name_that_would_lose_the_tagger_is_refused(
    tmp_path: Path, tiny: Tiny, name: str, why: str
) -> None:
    with pytest.raises(WeightsError, match=why):
        tiny().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "figures"),
    [("a", "a.json"), ("a.safetensors", "a.json"), ("tagger-0.1", "tagger-0.1.json"), ("b.json", "b.json")],
)
def test_only_a_suffix_of_ours_is_replaced(tmp_path: Path, name: str, figures: str) -> None:
    assert beside(tmp_path / name, ".json") == tmp_path / figures

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lightmel
from lightmel import checkpoint, hub, sample
from lightmel.errors import ConfigError, WeightsError
from lightmel.inference import Tagger
from lightmel.models import build

Header = Callable[[Path], dict[str, Any]]
Rewrite = Callable[..., None]
Tiny = Callable[..., Any]


def test_what_is_saved_is_what_is_read(tmp_path: Path, tiny: Tiny) -> None:
    tagger = tiny(
        3,
        thresholds=(0.1, 0.2, 0.3),
        provenance={"trained on": ["a", "b"], "größe": 1.5, "deep": {"x": None}},
    )
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tagger.network, tagger.description)
    network, description = checkpoint.read(path)
    assert description == tagger.description
    assert not network.training
    own, read = tagger.network.state_dict(), network.state_dict()
    assert list(own) == list(read)
    assert all(torch.equal(own[k], read[k]) for k in own)
    mel = torch.randn(2, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network(mel), tagger.network(mel))


def wide(tiny: Tiny) -> Tagger:
    """A tagger with a layer of more than 4096 numbers."""
    narrow = tiny(3)
    network = build(narrow.network.spec() | {"dense": 400}, generator=torch.Generator().manual_seed(0))
    return Tagger(network, narrow.description)


def test_half_the_room_for_nearly_the_same_numbers(tmp_path: Path, tiny: Tiny, header: Header) -> None:
    tagger, path = wide(tiny), tmp_path / "a.safetensors"
    tagger.save(path, "float16")
    kinds = {name: own["dtype"] for name, own in header(path).items() if name != "__metadata__"}
    learned = {name for name, own in tagger.network.named_parameters() if own.numel() > 4096}
    assert learned
    assert {name for name, kind in kinds.items() if kind == "F16"} == learned
    assert set(kinds.values()) == {"F16", "F32"}
    read = checkpoint.read(path)[0].state_dict()
    for name, own in tagger.network.state_dict().items():
        assert read[name].dtype == own.dtype
        assert torch.equal(read[name], own.half().float() if name in learned else own)
    again = tmp_path / "b.safetensors"
    lightmel.load(path).save(again, "float16")
    assert again.read_bytes() == path.read_bytes()


def test_scores_differ_by_less_than_a_thousandth_of_half_the_room(tmp_path: Path) -> None:
    name = "mtat-musicnn-small-16k-mel48-x2-db"
    whole, path = lightmel.load(name), tmp_path / "half.safetensors"
    whole.save(path, "float16")
    half = lightmel.load(path)
    packaged = hub.packaged(name)
    assert packaged is not None
    assert path.stat().st_size < 0.55 * packaged.stat().st_size
    song = sample.path()
    differences = np.abs(half.taggram(song).scores - whole.taggram(song).scores)
    assert 0 < differences.max() < 1e-3


def test_small_parameters_are_worth_their_room() -> None:
    """Were they rounded as well, scores of the default would differ by more than a thousandth."""
    tagger = lightmel.load()
    network = tagger.network
    with torch.no_grad():
        for own in network.parameters():
            own.copy_(own.half().float())
    rounded = Tagger(network, tagger.description).taggram(sample.path()).scores
    assert np.abs(rounded - tagger.taggram(sample.path()).scores).max() > 1e-3


def test_what_float16_does_not_hold_is_not_written(tmp_path: Path, tiny: Tiny) -> None:
    network = wide(tiny).network
    with torch.no_grad():
        network.dense.weight[0] = 1e5
    for dtype, error, message in (
        ("float16", WeightsError, "dense.weight holds a number too large for float16"),
        ("int8", ConfigError, "stored as float32 or float16, not as 'int8'"),
    ):
        with pytest.raises(error, match=message):
            checkpoint.save(tmp_path / "a", network, wide(tiny).description, dtype)
    assert list(tmp_path.iterdir()) == []


def test_the_same_tagger_is_always_the_same_bytes(tmp_path: Path, tiny: Tiny) -> None:
    for name in "ab":
        tiny(1, provenance=dict.fromkeys("zyx", 1)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    tiny(2, provenance=dict.fromkeys("zyx", 1)).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_reading_does_not_touch_the_global_random_state(saved: Path) -> None:
    before = torch.get_rng_state()
    checkpoint.read(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_file_is_plain_safetensors_for_all_to_read(saved: Path, header: Header) -> None:
    assert set(header(saved)["__metadata__"]) == {"lightmel"}
    document = json.loads(header(saved)["__metadata__"]["lightmel"])
    assert document["format"] == checkpoint.FORMAT == "lightmel-tagger-2"
    assert document["network"]["architecture"] == "musicnn"
    assert document["frontend"]["kind"] == "mel"
    assert document["frontend"]["sr"] == 16_000
    assert document["license"] == "CC0-1.0"
    assert saved.stat().st_mode & 0o777 == 0o644


def test_a_save_leaves_nothing_else_behind_and_replaces_whole(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("older")
    tiny().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert checkpoint.read(path)[1].name == "tiny-0"


def test_where_it_cannot_be_written_it_is_refused_and_cleaned_up(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file.a.safetensors cannot be written"):
        tiny().save(tmp_path / "file" / "a.safetensors")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(WeightsError, match="folder is a folder"):
        tiny().save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_missing_folders_are_made_so_that_no_training_is_lost_to_one(tmp_path: Path, tiny: Tiny) -> None:
    tiny().save(tmp_path / "new" / "folder" / "a.safetensors")
    assert checkpoint.read(tmp_path / "new" / "folder" / "a.safetensors")[1] == tiny().description


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf")])
def test_provenance_that_is_no_plain_data_is_refused(tmp_path: Path, tiny: Tiny, value: object) -> None:
    with pytest.raises(WeightsError, match="provenance"):
        tiny(provenance={"made by": value}).save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_numpy_thresholds_are_welcome(tmp_path: Path, tiny: Tiny) -> None:
    tiny(thresholds=tuple(np.array([0.25, 0.5, 0.75], dtype=np.float32))).save(tmp_path / "a")
    assert checkpoint.read(tmp_path / "a")[1].thresholds == (0.25, 0.5, 0.75)


def test_a_network_that_does_not_fit_its_description_is_not_saved(tmp_path: Path, tiny: Tiny) -> None:
    tagger = tiny()
    for change, message in (
        ({"tags": ("a", "b")}, "3 outputs for 2 tags"),
        ({"segment_samples": 16_000}, r"wants an input of \(16, 9\).* makes \(16, 16\)"),
        ({"config": tagger.config.replace(n_mels=8)}, r"makes \(8, 9\)"),
    ):
        with pytest.raises(WeightsError, match=message):
            checkpoint.save(tmp_path / "a", tagger.network, replace(tagger.description, **change))
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
def test_tensors_that_do_not_fit_are_named(case: str, saved: Path, rewrite: Rewrite) -> None:
    change, message = TENSORS[case]
    rewrite(saved, tensors=change)
    with pytest.raises(WeightsError, match=message) as refused:
        checkpoint.read(saved)
    assert saved.name in str(refused.value)


def test_many_complaints_are_counted(saved: Path, rewrite: Rewrite) -> None:
    rewrite(saved, tensors=lambda t: [t.pop(k) for k in list(t)[3:]])
    with pytest.raises(WeightsError, match=r"\(and \d+ more\)"):
        checkpoint.read(saved)


def test_other_files_are_refused_for_what_they_are(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(WeightsError, match="There is no file"):
        checkpoint.read(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        checkpoint.read(tmp_path)
    for content in (b"", b"text", saved.read_bytes()[:-1], saved.read_bytes()[:100], b"\xff" * 4096):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(WeightsError, match="bad is no readable safetensors file"):
            checkpoint.read(tmp_path / "bad")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain")
    with pytest.raises(WeightsError, match="holds tensors but no tagger"):
        checkpoint.read(tmp_path / "plain")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save(Trap(), tmp_path / "trap.safetensors")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        checkpoint.read(tmp_path / "trap.safetensors")
    assert not (tmp_path / "executed").exists()

"""What a tagger's file says in its header: read without tensors and without torch, in two formats."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import lightmel
from lightmel import checkpoint, hub
from lightmel._files import beside
from lightmel.errors import WeightsError
from lightmel.models import build

Header = Callable[[Path], dict[str, Any]]
Rewrite = Callable[..., None]
Tiny = Callable[..., Any]

READERS: tuple[Callable[[Path], Any], ...] = (
    checkpoint.read,
    checkpoint.read_description,
    checkpoint.read_network,
)
FORMAT_1 = Path(__file__).parents[1] / "files" / "format-1" / "tagger.safetensors"
"""Written by the version before format 2; its scores are of `WAVE`, by that version too."""
WAVE = np.sin(np.arange(16_000) * 0.05).astype(np.float32) * 0.3
SCORES = {"voice": 0.9999999916642914, "strings": 0.0036097882397940566, "drums": 0.999852553368765}
WEIGHTS = "7d6593ab01825db89ff465be1cc8c3186504306e1989088f4edb454d0ad4f9f7"

UNKNOWN_KIND = r"no front end 'bark' here; there are mel\b.*frontends\.register; a newer lightmel may have it"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return Path(shutil.copy(FORMAT_1, tmp_path / "older.safetensors"))


# Without tensors


def test_a_header_says_what_the_whole_file_says(tmp_path: Path, tiny: Tiny) -> None:
    path = tmp_path / "a.safetensors"
    tiny(2, thresholds=(0.1, 0.2, 0.3), provenance={"größe": [1, None]}).save(path)
    for file in (path, FORMAT_1):
        network, description = checkpoint.read(file)
        assert checkpoint.read_description(file) == description
        assert json.dumps(checkpoint.read_network(file)) == json.dumps(network.spec(), sort_keys=True)
        assert build(checkpoint.read_network(file)).spec() == network.spec()


def test_a_header_is_read_without_torch(saved: Path) -> None:
    """In an interpreter of its own, which says what was read and what was imported for it."""
    heavy = {"torch", "scipy", "sklearn", "soundfile", "soxr", "av", "huggingface_hub", "typer", "rich"}
    for path in (saved, FORMAT_1):
        code = (
            "import sys, json\n"
            "from lightmel import checkpoint\n"
            f"path = {str(path)!r}\n"
            "found = [repr(checkpoint.read_description(path)), checkpoint.read_network(path)]\n"
            "print(json.dumps([*found, sorted(sys.modules)]))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, encoding="utf-8", check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        description, network, loaded = json.loads(done.stdout)
        assert description == repr(checkpoint.read(path)[1])
        assert network == json.loads(json.dumps(checkpoint.read(path)[0].spec()))
        assert heavy.isdisjoint(name.split(".")[0] for name in loaded)


def test_a_header_is_read_whatever_became_of_the_tensors(saved: Path, rewrite: Rewrite) -> None:
    wanted = checkpoint.read_description(saved), checkpoint.read_network(saved)
    rewrite(saved, tensors=lambda t: t["head.bias"].fill_(float("nan")))
    assert (checkpoint.read_description(saved), checkpoint.read_network(saved)) == wanted
    with pytest.raises(WeightsError, match=r"head\.bias is not finite"):
        checkpoint.read(saved)


def test_other_files_have_no_description(tmp_path: Path, saved: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "plain")
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(saved.read_bytes()[:100])
    for name, message in (
        ("none", "There is no file .*none"),
        ("", "no readable safetensors file"),
        ("empty", "empty is no readable safetensors file"),
        ("short", "short is no readable safetensors file"),
        ("plain", "plain holds tensors but no tagger: its header lacks the entry 'lightmel'"),
    ):
        for read in READERS:
            with pytest.raises(WeightsError, match=message):
                read(tmp_path / name)


def test_the_default_taggers_description_is_readable() -> None:
    path = hub.packaged("default")
    assert path is not None
    description, network = checkpoint.read_description(path), checkpoint.read_network(path)
    assert description.name == hub.DEFAULT
    assert description == lightmel.load().description
    description.check(network["input_shape"], network["n_tags"])
    assert (description.segment_seconds, network["architecture"]) == (3, "mobilenet")
    assert set(description.provenance) >= {"teachers", "training", "distillation", "calibration"}


# Format 1, of the version before


def test_a_file_of_format_1_loads_and_scores_as_it_did(header: Header) -> None:
    document = json.loads(header(FORMAT_1)["__metadata__"]["lightmel"])
    assert document["format"] == "lightmel-tagger-1"
    assert {"config", "licence"} <= set(document)
    tagger = lightmel.load(FORMAT_1)
    assert tagger.tags == tuple(SCORES)
    found = tagger.tag(WAVE, 16_000)
    assert {tag: found[tag] for tag in tagger.tags} == pytest.approx(SCORES, abs=1e-6)
    description = tagger.description
    assert (description.name, description.version, description.license) == ("tiny", "1", "CC0-1.0")
    assert description.config == lightmel.MelConfig(16_000, 16, 4, "db")
    assert (description.segment_samples, description.thresholds) == (8_000, (0.3, 0.4, 0.5))
    assert description.provenance == {"made by": "format 1"}
    assert checkpoint.weights_sha256(tagger.network) == WEIGHTS


def test_a_file_of_format_1_is_saved_in_format_2_and_stays_the_same_tagger(
    tmp_path: Path, header: Header
) -> None:
    network, description = checkpoint.read(FORMAT_1)
    path = tmp_path / "newer.safetensors"
    checkpoint.save(path, network, description)
    document = json.loads(header(path)["__metadata__"]["lightmel"])
    assert document["format"] == "lightmel-tagger-2"
    assert {"config", "licence"}.isdisjoint(document)
    assert (document["license"], document["frontend"]["kind"]) == ("CC0-1.0", "mel")
    again, newer = checkpoint.read(path)
    assert newer == description
    assert checkpoint.weights_sha256(again) == checkpoint.weights_sha256(network) == WEIGHTS
    assert again.spec() == network.spec()


OLDER: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown front end": (
        lambda d: d["config"].update(kind="bark"),
        UNKNOWN_KIND,
    ),
    "unknown field": (
        lambda d: d["config"].update(color="red"),
        "this version of lightmel cannot make its front end: .* fields of a mel front end.*'color'",
    ),
    "no license": (lambda d: d.pop("licence"), "damaged.*licence"),
    "no front end": (lambda d: d.pop("config"), "damaged.*config"),
    "newer format": (
        lambda d: d.update(format="lightmel-tagger-3"),
        "-tagger-3', this version reads 'lightmel-tagger-2' and 'lightmel-tagger-1'. A newer lightmel may",
    ),
}


@pytest.mark.parametrize("case", list(OLDER))
def test_a_file_of_format_1_that_cannot_be_read_says_why(case: str, older: Path, rewrite: Rewrite) -> None:
    change, message = OLDER[case]
    rewrite(older, document=change)
    for read in READERS:
        with pytest.raises(WeightsError, match=message) as refused:
            read(older)
        assert str(older) in str(refused.value)


# What does not fit


def test_a_description_refuses_what_contradicts_itself(tiny: Tiny) -> None:
    description = tiny().description
    with pytest.raises(WeightsError, match="drums stands more often"):
        replace(description, tags=("drums", "voice", "drums"))
    with pytest.raises(WeightsError, match="2 thresholds do not fit 3 tags"):
        replace(description, thresholds=(0.1, 0.2))
    for samples in (0, -1, 8_000.0, True, "8000"):
        with pytest.raises(WeightsError, match="segment_samples is a whole number from 1 on"):
            replace(description, segment_samples=samples)
    for change in ({"name": "a\ud800"}, {"version": "\udcff"}, {"tags": ("a", "b\ud800", "c")}):
        with pytest.raises(WeightsError, match="hold half a character"):
            replace(description, **change)


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
    "impossible front end": (lambda d: d["frontend"].update(hop_factor=0), "hop factor of 0 is below 1"),
    "unknown option": (
        lambda d: d["frontend"].update(color="red"),
        "this version of lightmel cannot make its front end.*'color'",
    ),
    "other front end": (lambda d: d["frontend"].update(hop_factor=3), r"makes \(16, 11\)"),
    "other segment": (lambda d: d.update(segment_samples=16_000), r"makes \(16, 16\) of 16000 samples"),
    "nonsense segment": (
        lambda d: d.update(segment_samples="half a second"),
        "segment_samples is a whole number from 1 on, not 'half a second'",
    ),
    "negative segment": (
        lambda d: d.update(segment_samples=-8000),
        "segment_samples is a whole number from 1 on, not -8000",
    ),
    "unknown front end": (
        lambda d: d["frontend"].update(kind="bark"),
        UNKNOWN_KIND,
    ),
    "front end of no kind": (lambda d: d["frontend"].pop("kind"), "no front end None here"),
    "no front end": (lambda d: d.pop("frontend"), "damaged.*frontend"),
    "wrong type": (lambda d: d.update(tags=5), "damaged"),
    "null": (lambda d: d.update(thresholds=None), "damaged"),
}


@pytest.mark.parametrize("case", list(DOCUMENTS))
def test_a_description_that_does_not_fit_is_refused(case: str, saved: Path, rewrite: Rewrite) -> None:
    change, message = DOCUMENTS[case]
    rewrite(saved, document=change)
    with pytest.raises(WeightsError, match=message) as refused:
        checkpoint.read(saved)
    assert saved.name in str(refused.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '"x"', "{", '{"format": []}', "[" * 100_000])
def test_a_document_of_another_kind_is_refused(text: str, saved: Path) -> None:
    save_file(load_file(saved), saved, metadata={"lightmel": text})
    for read in READERS:
        with pytest.raises(WeightsError, match=saved.name):
            read(saved)


def test_what_a_header_alone_shows_to_be_wrong_needs_no_tensors(saved: Path, rewrite: Rewrite) -> None:
    for change, message in (
        (lambda d: d.update(format="lightmel-tagger-9"), "lightmel-tagger-9.*newer lightmel may read it"),
        (lambda d: d.update(format="lightmel-tagger-2", segment_samples=None), "whole number from 1 on"),
        (lambda d: d.update(segment_samples=8_000, tags=["a", "b", "b"]), "b stands more often"),
        (lambda d: d["frontend"].update(kind="mell"), "no front end 'mell' here.*Did you mean 'mel'"),
    ):
        rewrite(saved, document=change)
        for read in READERS:
            with pytest.raises(WeightsError, match=message) as refused:
                read(saved)
            assert str(saved) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a.json", "overwritten"),
        ("a.md", "overwritten"),
        ("a.toml", "overwritten"),
        ("a.pth", "published"),
        ("a.npz", "published"),
        (".data-00000-of-00001", "published"),
        ("", "a folder"),
    ],
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


def test_what_is_beside_another_tagger_is_not_overwritten(saved: Path, tiny: Tiny) -> None:
    model = tiny()
    with pytest.raises(WeightsError, match=rf"tiny: the files beside it .* those beside {saved}"):
        model.save(saved.with_suffix(""))
    model.save(saved)
    saved.with_suffix(".md").write_text("a card")
    with pytest.raises(WeightsError, match=rf"tiny.md is no readable .* The tagger beside it is {saved}"):
        checkpoint.read_description(saved.with_suffix(".md"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_is_neither_read_nor_replaced(tmp_path: Path, tiny: Tiny) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in READERS:
        with pytest.raises(WeightsError, match="pipe is no readable safetensors file"):
            read(pipe)
    with pytest.raises(WeightsError, match="pipe is no regular file"):
        tiny().save(pipe)
    assert pipe.is_fifo()


@pytest.mark.skipif(os.name != "posix", reason="links want rights elsewhere")
def test_a_link_stays_one(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    tiny().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "real").is_symlink()
    assert checkpoint.read_description(tmp_path / "real") == tiny().description


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("n" * 300, "cannot be written"),
        ("n" * 250, "cannot be written"),
        ("n\0", "cannot be written"),
        ("n\udcff", "is no text in UTF-8"),
    ],
)
def test_a_name_that_is_none_is_refused_before_the_work(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(WeightsError, match=why):
        checkpoint.check_path(tmp_path / name)
    assert list(tmp_path.iterdir()) == []

"""Which taggers there are: what each says of itself, and what a name that stands for none is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lightmel
from lightmel import checkpoint, hub, vocabularies
from lightmel.errors import ConfigError, UnknownModelError
from lightmel.frontends import config_from_slug
from lightmel.hub import catalogue


def test_every_release_is_described() -> None:
    releases = hub.releases()
    assert len({r.name for r in releases}) == len(releases) > 1 + len(hub.CHECKPOINTS)
    assert releases[0].name == hub.DEFAULT
    for release in releases:
        assert release.where in ("package", "download")
        assert release.vocabulary in vocabularies.VOCABULARIES
        assert release.n_tags == len(vocabularies.read(release.vocabulary))
        assert release.bytes > 0
        assert config_from_slug(release.config).slug == release.config
        assert release.license
        assert release.summary
        assert "\n" not in release.summary
        assert (hub.packaged(release.name) is None) == (release.where == "download")


@pytest.mark.parametrize("release", [r for r in hub.releases() if r.where == "package"], ids=lambda r: r.name)
def test_a_packaged_tagger_is_what_its_record_says(release: hub.Release) -> None:
    path = hub.packaged(release.name)
    assert path is not None
    assert path.stat().st_size == release.bytes <= 5_000_000
    tagger = lightmel.load(release.name)
    assert tagger.name == release.name
    assert tagger.config.slug == release.config
    assert tagger.tags == vocabularies.read(release.vocabulary)
    assert tagger.description.license == release.license
    assert tagger is lightmel.load("default") or release.name != hub.DEFAULT


def test_a_release_is_read_from_its_file(
    tmp_path: Path, tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing about a packaged tagger is written down a second time: another file is another release."""
    tags = vocabularies.read("mtat")
    path, other = tmp_path / "of-files.safetensors", tmp_path / "of-teachers.safetensors"
    tiny(0, name="of-files", license="CC0-1.0").save(path)
    body = tiny(1, slug="12k-mel8-x4-log", seconds=1.0).with_tags(tags)
    described = replace(
        body.description, name="of-teachers", license="MIT", provenance={"teachers": ["ann", "bob"]}
    )
    checkpoint.save(other, body.network, described)
    monkeypatch.setattr(catalogue, "_packaged", lambda: {p.stem: p for p in (path, other)})
    catalogue.releases.cache_clear()
    try:
        first, second, *public = hub.releases()
    finally:
        catalogue.releases.cache_clear()
    assert first == hub.Release(
        name="of-files",
        vocabulary="",
        n_tags=3,
        config="16k-mel16-x4-db",
        network="musicnn",
        parameters=None,
        gmac_per_minute=None,
        roc_auc=None,
        pr_auc=None,
        bytes=path.stat().st_size,
        license="CC0-1.0",
        summary="0.5 s a time, from labelled clips",
        where="package",
    )
    assert second == hub.Release(
        name="of-teachers",
        vocabulary="mtat",
        n_tags=50,
        config="12k-mel8-x4-log",
        network="musicnn",
        parameters=None,
        gmac_per_minute=None,
        roc_auc=None,
        pr_auc=None,
        bytes=other.stat().st_size,
        license="MIT",
        summary="1 s a time, from ann, bob",
        where="package",
    )
    assert [r.name for r in public] == list(hub.CHECKPOINTS)


def test_a_public_release_is_what_its_record_says() -> None:
    found = {r.name: r for r in hub.releases() if r.where == "download"}
    for name, record in hub.CHECKPOINTS.items():
        assert found[name].bytes == record.bytes
        assert found[name].license == record.license
        assert found[name].vocabulary == record.vocabulary
        assert found[name].config == record.description.config.slug


def test_the_list_of_releases_needs_no_torch() -> None:
    code = (
        "import sys; from lightmel import hub; hub.releases(); hub.packaged('default');"
        "assert 'torch' not in sys.modules; print(len(hub.releases()))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == len(hub.releases())


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("defualt", "default"),
        ("public:won2020-mtat-musicn", "public:won2020-mtat-musicnn"),
        ("won2020-msd-fcn", "public:won2020-msd-fcn"),
        (hub.DEFAULT.replace("mobilenet", "moblenet"), hub.DEFAULT),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean '{suggestion}'"):
        lightmel.load(name)


@pytest.mark.parametrize(
    "name", ["", "qqqqq", "no/such/file.safetensors", "no/such/file.pth", "x" * 5000, "a\0b"]
)
def test_what_is_neither_name_nor_file_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError, match="lightmel models"):
        lightmel.load(name)


@pytest.mark.parametrize("name", ["default", "lightmel-vgg-16k-mel48-x10-db", next(iter(hub.CHECKPOINTS))])
def test_what_has_no_revision_says_so(name: str) -> None:
    where = "is in the package" if hub.packaged(name) else "is no repository of the Hub"
    wanted = rf"^{name} {where}: it has no revision 'v1\.0'"
    with pytest.raises(ConfigError, match=wanted):
        lightmel.load(f"{name}@v1.0")
    with pytest.raises(ConfigError, match=wanted):
        lightmel.Tagger.from_pretrained(name, revision="v1.0")


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_revision_is_not_the_main_branch(empty: str, network: Any) -> None:
    fake = network(AssertionError("the network was touched"))
    for find in (lightmel.load, lightmel.Tagger.from_pretrained):
        with pytest.raises(UnknownModelError, match=r"No revision stands after the @ .* out: owner/name\."):
            find(f"owner/name@{empty}")
    with pytest.raises(ConfigError, match=r"revision=.* is empty"):
        lightmel.Tagger.from_pretrained("owner/name", revision=empty)
    assert fake.asked == []


@pytest.mark.parametrize(
    "name",
    [
        *("default", hub.DEFAULT, "mtat-musicnn-small-16k-mel48-x2-db", "public:mine"),
        *(hub.planned()[-1], next(iter(hub.CHECKPOINTS))),
    ],
)
def test_a_new_tagger_is_not_named_as_another(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^name='{name}' stands for another tagger"):
        hub.check_name(name)


@pytest.mark.parametrize("name", ["", "mine", "Default", "defaults", f"{hub.DEFAULT}-mine", "publicity"])
def test_other_names_are_free(name: str) -> None:
    hub.check_name(name)


def test_a_folder_is_no_tagger(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="is a folder"):
        lightmel.load(tmp_path)


def test_the_list_and_the_default_stay_off_the_network(network: Any) -> None:
    fake = network(AssertionError("the network was touched"))
    catalogue.releases.cache_clear()
    hub.releases()
    hub.packaged("default")
    hub.costs_of("default")
    assert fake.asked == []


def test_many_teachers_are_counted() -> None:
    (default,) = (r for r in hub.releases() if r.name == hub.DEFAULT)
    assert default.summary == "3 s a time, from 5 taggers"

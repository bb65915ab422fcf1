from __future__ import annotations

from pathlib import Path

import pytest

from lightmel import vocabularies as tags
from lightmel.errors import ConfigError


@pytest.mark.parametrize("name", tags.VOCABULARIES)
def test_a_vocabulary_has_fifty_tags_each_once(name: str) -> None:
    found = tags.read(name)
    assert len(found) == len(set(found)) == 50
    assert all(tag and tag == tag.strip() for tag in found)
    assert tags.read(name) is found


@pytest.mark.parametrize("name", tags.VOCABULARIES)
def test_the_order_is_that_of_the_published_outputs(name: str, shared: Path) -> None:
    published = (shared / "teachers" / f"tags-{name}.txt").read_text(encoding="utf-8").splitlines()
    assert list(tags.read(name)) == published


def test_jamendos_order_is_by_code_point() -> None:
    jamendo = tags.read("jamendo")
    assert list(jamendo) == sorted(jamendo)


def test_the_near_synonyms_of_msd_are_two_tags() -> None:
    assert {"female vocalists", "female vocalist"} <= set(tags.read("msd"))


def test_the_most_frequent_tag_comes_first() -> None:
    assert tags.read("mtat")[:3] == ("guitar", "classical", "slow")
    assert tags.read("msd")[:2] == ("rock", "pop")


@pytest.mark.parametrize("name", ["mtt", "MTAT", "", "../mtat"])
def test_an_unknown_vocabulary_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="there are mtat, msd, jamendo"):
        tags.read(name)


def test_the_name_is_suggested_for_a_near_miss() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'jamendo'"):
        tags.read("jamedno")

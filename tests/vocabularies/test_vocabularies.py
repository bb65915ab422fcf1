from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from lightmel import vocabularies as tags
from lightmel.errors import ConfigError

PUBLISHED = ("mtat", "msd", "jamendo")
TABLE = Path(tags.__file__).with_name("tags.csv")


def every_tag() -> list[str]:
    return [tag for name in tags.VOCABULARIES for tag in tags.read(name)]


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 50) for name in PUBLISHED), ("audioset-music", 224), ("lightmel", 245)]
)
def test_a_vocabulary_has_so_many_tags_each_once(name: str, count: int) -> None:
    found = tags.read(name)
    assert len(found) == len(set(found)) == count
    assert all(tag and tag == tag.strip() for tag in found)
    assert tags.read(name) is found


@pytest.mark.parametrize("name", PUBLISHED)
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


def test_the_order_of_the_family_stays() -> None:
    """Trained heads lean on it: a new tag comes with a new vocabulary."""
    text = "\n".join(tags.read("lightmel"))
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "d1012302c085ea6cebf68d1e653f6e5ad0ab73aae4f1f4f356665784c07ca5aa"
    )


def test_the_family_gives_every_tag_of_mtat_and_msd_and_every_concept_of_audioset() -> None:
    own = tags.read("lightmel")
    assert own[:50] == tags.read("mtat")
    assert set(tags.read("msd")) <= set(own)
    concepts = {tags.concept(tag) for tag in own}
    assert {tags.concept(tag) for tag in tags.read("audioset-music")} <= concepts
    assert {"music", "speech", "silence", "rain", "saxophone", "carnatic"} <= set(own)


def test_audiosets_names_stand_at_their_index(shared: Path) -> None:
    with (shared / "teachers" / "efficientat" / "classes.csv").open(encoding="utf-8", newline="") as file:
        names = {row["name"]: int(row["index"]) for row in csv.DictReader(file)}
    index = tags.audioset_index()
    assert tuple(index) == tags.read("audioset-music")
    assert list(index.values()) == sorted(index.values())
    assert {tag: names.get(tag) for tag in index} == index


def test_every_tag_has_its_row_and_every_row_its_tag() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row["tag"] for row in csv.DictReader(file)]
    assert max(Counter(rows).values()) == 1
    assert set(rows) == set(every_tag())
    assert {tags.category(tag) for tag in rows} == {*tags.CATEGORIES, tags.MUSIC}


def test_a_concept_is_a_plain_word_that_means_itself() -> None:
    for tag in every_tag():
        concept = tags.concept(tag)
        assert concept
        assert concept == concept.lower().strip()
        assert (tags.concept(concept), tags.category(concept)) == (concept, tags.category(tag))


@pytest.mark.parametrize(
    ("concept", "category", "alike"),
    [
        ("female vocal", "voice", ["female", "woman", "female voice", "female vocalists", "Female singing"]),
        ("male vocal", "voice", ["man", "male", "male vocalists", "Male singing"]),
        ("no vocals", "voice", ["no voice", "no vocal", "instrumental"]),
        ("hip hop", "genre", ["Hip-Hop", "Hip hop music", "genre---hiphop"]),
        ("guitar", "instrument", ["Guitar", "instrument---guitar"]),
        ("electric guitar", "instrument", ["Electric guitar", "instrument---electricguitar"]),
        ("speech", "not music", ["Speech", "Narration, monologue"]),
        ("music", "music", ["Music"]),
        ("80s", "era", []),
        ("slow", "tempo and dynamics", []),
        ("relaxing", "mood", ["Relaxing"]),  # no tag of any vocabulary
        ("happy", "mood", ["Happy music", "mood/theme---happy"]),
        ("soundtrack", "use", ["Soundtrack music", "mood/theme---film"]),
    ],
)
def test_tags_of_one_meaning_are_one_concept(concept: str, category: str, alike: list[str]) -> None:
    for tag in [concept, *alike]:
        assert (tags.concept(tag), tags.category(tag)) == (concept, category)


def test_case_and_hyphens_do_not_matter_and_an_unknown_tag_is_its_own_concept() -> None:
    assert tags.category("SAXOPHONE") == "instrument"
    assert tags.concept("hip_hop") == "hip hop"
    assert tags.category("my own") == "other"
    assert tags.concept("My own") == "My own"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("tag,category\n", "wanted is a table with the columns tag, category, concept"),
        ("tag,category,concept\na,genre\n", "in every row"),
        ("tag,category,concept\na,genre,a\na,genre,a\n", "each tag may stand once; a stands"),
        ("tag,category,concept\na b,genre,a b\nA-b,mood,a b\n", "'A-b' stands there twice"),
        ("tag,category,concept\na,genera,a\n", "'a' has the category 'genera'"),
        ("tag,category,concept\na,genre,c\nb,mood,c\n", "the concept 'c' is genre and mood"),
        ("tag,category,concept\na,genre,b\nb,genre,c\n", "the concept 'b' is also a tag, of another"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        tags._parse(text, "mine.csv")


def test_a_vocabulary_with_a_tag_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="each tag may stand once; b stands"):
        tags._tags("a\nb\nb\n", "mine.txt")

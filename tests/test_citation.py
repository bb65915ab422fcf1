"""``CITATION.cff`` is what readers of the Citation File Format 1.2.0 take and cites what lightmel follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

CITATION: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")
)
# From schema.json of the format, version 1.2.0: what may stand where, as far as it is used here.
KEYS = {
    "abstract",
    "authors",
    "cff-version",
    "keywords",
    "license",
    "message",
    "references",
    "title",
    "type",
    "version",
}
REFERENCE = {"authors", "collection-title", "conference", "identifiers", "title", "type", "url", "year"}


def test_it_has_what_the_format_wants_and_nothing_that_it_does_not_know() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert {"authors", "cff-version", "message", "title"} <= set(CITATION) <= KEYS
    assert CITATION["type"] == "software"
    assert isinstance(CITATION["version"], str)
    assert len(CITATION["keywords"]) == len(set(CITATION["keywords"]))


@pytest.mark.parametrize("reference", CITATION["references"], ids=lambda reference: reference["title"][:20])
def test_each_reference_is_whole(reference: dict[str, Any]) -> None:
    assert {"authors", "title", "type"} <= set(reference) <= REFERENCE
    assert reference["type"] == "conference-paper"
    assert isinstance(reference["year"], int)
    assert reference["conference"]["name"] == reference["collection-title"]
    assert all({"family-names", "given-names"} == set(author) for author in reference["authors"])
    (found,) = reference["identifiers"]
    assert found["type"] == "other"
    assert reference["url"] == f"https://arxiv.org/abs/{found['value'].removeprefix('arXiv:')}"


def test_the_paper_is_cited() -> None:
    paper = CITATION["references"][0]
    assert paper["title"].startswith("How Low Can You Go?")
    assert [author["family-names"] for author in paper["authors"]] == ["Ferraro", "Bogdanov", "Serra", "Yoon"]

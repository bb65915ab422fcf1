"""The card of a tagger on the Hugging Face Hub: what is known of it as front matter, and a page to read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..checkpoint import Description, read_description
from .catalogue import CHECKPOINTS, packaged
from .client import LIBRARY
from .repositories import repository

TASK = "audio-classification"
_METRICS = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
_LICENSES = frozenset(
    (
        *("agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause"),
        *("cc-by-2.0", "cc-by-3.0", "cc-by-4.0"),
        *(
            "cc-by-nc-3.0",
            "cc-by-nc-4.0",
            "cc-by-nc-nd-4.0",
            "cc-by-nc-sa-3.0",
            "cc-by-nc-sa-4.0",
            "cc-by-nd-4.0",
        ),
        *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0"),
        *("gpl-2.0", "gpl-3.0", "isc", "lgpl-3.0", "mit", "mpl-2.0", "odbl", "unlicense"),
    )
)
"""Licenses that the Hub knows by these names; any other is ``other`` there, with a name."""
_NOT_STATED = ("", "unknown", "none")
CITATION = """\
@software{lightmel,
  title   = {lightmel: music tags from small mel-spectrograms},
  author  = {{The lightmel developers}},
  license = {MIT}
}

@inproceedings{ferraro2020low,
  title     = {How Low Can You Go? Reducing Frequency and Time Resolution in Current CNN Architectures for \
Music Auto-tagging},
  author    = {Ferraro, Andres and Bogdanov, Dmitry and Serra, Xavier and Yoon, Jason},
  booktitle = {European Signal Processing Conference (EUSIPCO)},
  year      = {2020},
  eprint    = {1911.04824},
  archiveprefix = {arXiv}
}
"""
"""The facts of CITATION.cff: lightmel, and the paper whose front end and networks it follows."""

_CITATION = "## Citation"


def is_stated(license: str) -> bool:
    """Return whether a tagger's license says anything."""
    text = license.strip().lower()
    return text not in _NOT_STATED and not text.startswith("not stated")


def needs_notices(description: Description) -> bool:
    """Return whether a tagger learned from checkpoints whose licenses want to be passed on with it."""
    found = _ancestors(description.provenance)
    return any(a.name in CHECKPOINTS and is_stated(CHECKPOINTS[a.name].license) for a in found)


def make_card(
    description: Description,
    network: Mapping[str, Any],
    *,
    place: str | None,
    results: list[dict[str, Any]] | None = None,
    body: str | None = None,
) -> str:
    """Return a card: front matter between two lines of dashes, then Markdown.

    Parameters
    ----------
    description, network
        Of the tagger's file.
    place
        The repository that the snippet of code loads it from; None where it is in none yet.
    results
        What `results_of_evaluation`, `results_of_family` or `results_of_report` gave, if it was measured.
    body
        A page that is there already; without one it is made from the rest.
    """
    results = results or []
    front = {
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        **_license(description.license),
        "tags": ["music", "music-tagging", "mel-spectrogram", str(network["architecture"])],
        **_origin(description.provenance),
    }
    if results:
        front["metrics"] = list(dict.fromkeys(m["type"] for result in results for m in result["metrics"]))
        front["model-index"] = [{"name": description.name, "results": results}]
    text = _made_body(description, network, results, place) if body is None else body.strip()
    return with_citation("\n".join(["---", *_yaml(front), "---", "", text]))


def card_opening(d: Description, architecture: str, parameters: int | None = None) -> list[str]:
    """Return the first lines of a page about a tagger: what it is, its license, its network and input."""
    size = "" if parameters is None else f", {parameters:,} parameters"
    return [
        f"# {d.name}",
        "",
        "A music tagger: it gives each of its tags a score for a piece of sound.",
        "",
        f"- Version {d.version}. License of the weights: **{d.license}**.",
        f"- Network: {architecture}{size}; input `{d.config.slug}`, segments of {d.segment_seconds:.4g} s.",
    ]


def with_citation(page: str) -> str:
    """Return a page in Markdown that ends in how to cite lightmel and the paper; it may do so already."""
    if f"\n{_CITATION}\n" in page:
        return f"{page.rstrip()}\n"
    return "\n".join([page.rstrip(), "", _CITATION, "", "```bibtex", CITATION.strip(), "```", ""])


def with_place(card: str, repository: str) -> str:
    """Return a card whose snippet loads from `repository`; one with another snippet stays as it is."""
    return _LOADING.sub(lambda _: _loading(repository), card, count=1)


def _loading(place: str | None) -> str:
    """Return the line of the snippet that loads the tagger."""
    line = f"tagger = lightmel.Tagger.from_pretrained({json.dumps(place or '.')})"
    return line if place else f"{line}  # in this folder; once published, by OWNER/NAME"


_LOADING = re.compile(r'^tagger = lightmel\.Tagger\.from_pretrained\("[^"]*"\).*$', re.M)


def results_of_evaluation(plain: Mapping[str, Any], d: Description) -> list[dict[str, Any]]:
    """Return the entry of a model index for what an `Evaluation` gave as plain data; none without figures."""
    values = {name: plain.get(f"macro_{name}") for name in _METRICS}
    if not all(isinstance(value, (int, float)) for value in values.values()):
        return []
    dataset = f"{plain['dataset']}, {plain['split']}, {plain['protocol']}: {plain['clips']} clips"
    return [_result(dataset, str(plain["dataset"]), values, len(plain["roc_auc"]), d)]


def results_of_family(plain: Mapping[str, Any], d: Description) -> list[dict[str, Any]]:
    """Return the entry of a model index for the figures that `family/quality.py` wrote."""
    human = plain["human"]
    dataset = f"human annotations of {human['clips']} clips of {human['groups']} groups, {human['tags']} tags"
    values = {name: human[name]["value"] for name in _METRICS}
    return [_result(dataset, _HUMAN, values, human["tags"], d)]


def results_of_report(plain: Mapping[str, Any], d: Description) -> list[dict[str, Any]]:
    """Return the entry of a model index for the report of a distillation; none without annotated clips."""
    tags = plain["annotated_tags"]
    if not tags:
        return []
    dataset = f"human annotations of {plain['annotated_clips']} held-out clips, {len(tags)} tags"
    return [_result(dataset, _HUMAN, {"roc_auc": plain["roc_auc_student"]}, len(tags), d)]


_HUMAN = "human-annotations"


def _result(
    dataset: str, kind: str, values: Mapping[str, Any], measured: int, d: Description
) -> dict[str, Any]:
    """Return an entry of means over so many of the tagger's tags, which it says where they are not all."""
    which = "tags" if measured == len(d.tags) else f"{measured} of {len(d.tags)} tags"
    return {
        "task": {"type": TASK, "name": "Music tagging"},
        "dataset": {"name": dataset, "type": _slug(kind)},
        "metrics": [
            {"type": name, "name": f"{_METRICS[name]}, mean over {which}", "value": round(float(value), 4)}
            for name, value in values.items()
        ],
    }


def _license(text: str) -> dict[str, str]:
    name = _slug(text)
    if not is_stated(text):
        return {"license": "unknown"}
    return {"license": name} if name in _LICENSES else {"license": "other", "license_name": name}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


class _Ancestor(NamedTuple):
    """A tagger from whose scores (``teacher``) or weights (``start``, ``body``) another one came."""

    name: str
    how: str
    direct: bool

    @property
    def license(self) -> str:
        return CHECKPOINTS[self.name].license if self.name in CHECKPOINTS else "see its own card"


def _ancestors(provenance: Mapping[str, Any], direct: bool = True) -> Iterator[_Ancestor]:
    """Yield all taggers that a tagger came from, and those that these came from, as far as it is known.

    Teachers, the tagger whose body a student started from, and the one that was fine-tuned, whose own
    provenance goes along; that of a tagger in the package is read from its file.
    """
    body, how = provenance.get("body"), provenance.get("distillation")
    body, how = body if isinstance(body, Mapping) else {}, how if isinstance(how, Mapping) else {}
    named: list[tuple[str, object, object]] = [
        *(("teacher", name, None) for name in provenance.get("teachers") or ()),
        ("start", how.get("start"), None),
        ("body", body.get("name"), body.get("provenance")),
    ]
    for kind, text, before in named:
        name = next(iter(str(text or "").split()), "")  # a version may follow
        if name:
            yield _Ancestor(name, kind, direct)
        if not isinstance(before, Mapping) and (file := packaged(name)) is not None:
            before = read_description(file).provenance
        if isinstance(before, Mapping):
            yield from _ancestors(before, direct=False)


def _once(found: Iterable[_Ancestor]) -> list[_Ancestor]:
    return list({ancestor.name: ancestor for ancestor in reversed([*found])}.values())[::-1]


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the front matter says of a tagger's origin: base model, teachers.

    Data sets are not named there: the Hub takes its own names of them, which their files do not say.
    """
    found: dict[str, Any] = {}
    ancestors = [*_ancestors(provenance)]
    bases = [base for a in ancestors if a.how != "teacher" and (base := repository(a.name)) is not None]
    if bases:
        found["base_model"] = bases[0].id
    if teachers := _once(a for a in ancestors if a.how == "teacher"):
        found["teachers"] = [{"name": a.name, "license": a.license} for a in teachers]
    return found


def _history(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the page says of a tagger's origin, a line each."""

    def listed(found: list[_Ancestor]) -> str:
        return "; ".join(f"`{a.name}` ({a.license})" for a in found)

    ancestors = [*_ancestors(provenance)]
    direct = [a for a in ancestors if a.direct]
    if teachers := _once(a for a in direct if a.how == "teacher"):
        yield f"- Teachers: {listed(teachers)}. It was trained on their scores and repeats their errors."
    if starts := [a for a in direct if a.how == "start"]:
        yield f"- It started from the weights of {listed(starts)}."
    data, clips = provenance.get("data"), provenance.get("clips")
    number = f"{clips} clips" if isinstance(clips, int) else ""
    if data or number:
        yield f"- Trained on {', '.join(str(part) for part in (data, number) if part)}."
    body = provenance.get("body")
    if isinstance(body, Mapping) and body.get("name"):
        yield f"- It grew from `{body.get('name')}` {body.get('version', '')}".rstrip() + "."
    known = {a.name for a in direct}
    if earlier := _once(a for a in ancestors if a.name not in known):
        yield f"- What it came from learned from {listed(earlier)}."


def _made_body(
    d: Description, network: Mapping[str, Any], results: list[dict[str, Any]], place: str | None
) -> str:
    tags = ", ".join(d.tags[:12]) + (f" and {len(d.tags) - 12} more" if len(d.tags) > 12 else "")
    lines = [
        *card_opening(d, str(network["architecture"])),
        f"- {len(d.tags)} tags: {tags}.",
        *_history(d.provenance),
        "",
        "```python",
        "import lightmel",
        "",
        _loading(place),
        'print(tagger.tag("song.mp3"))',
        "```",
        "",
        "## Measured",
        "",
        *(_measured(results) or ["Nothing that is known of here."]),
        "",
        "## What it is for",
        "",
        "Finding and sorting music by its tags. It is not for decisions about people, and its tags are not "
        "the last word: they are guesses of a small network, which hardly knows what its "
        "training music lacks.",
    ]
    return "\n".join(lines)


def _measured(results: list[dict[str, Any]]) -> list[str]:
    return [
        f"- {result['dataset']['name']}: "
        + "; ".join(f"{metric['name']} {metric['value']:.3f}" for metric in result["metrics"])
        + "."
        for result in results
    ]


def _yaml(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield the lines of a mapping as YAML; texts are written as JSON has them, which YAML reads too."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(item, f"{indent}  ")
        elif isinstance(item, list):
            yield f"{indent}{key}:"
            for entry in item:
                if isinstance(entry, Mapping):
                    first, *rest = _yaml(entry, f"{indent}  ")
                    yield f"{indent}- {first.strip()}"
                    yield from rest
                else:
                    yield f"{indent}- {_scalar(entry)}"
        else:
            yield f"{indent}{key}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[a-z][a-z_-]*", value) and value not in _YAML_WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")

"""The card of a tagger on the Hugging Face Hub: what is known of it as front matter, and a page to read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..checkpoint import Description
from .catalogue import CHECKPOINTS
from .client import LIBRARY

TASK = "audio-classification"
_METRICS = {"roc_auc": "ROC AUC, mean over tags", "pr_auc": "PR AUC, mean over tags"}
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


def is_stated(license: str) -> bool:
    """Return whether a tagger's license says anything."""
    text = license.strip().lower()
    return text not in _NOT_STATED and not text.startswith("not stated")


def needs_notices(description: Description) -> bool:
    """Return whether a tagger learned from checkpoints whose licenses want to be passed on with it."""
    teachers = _teachers(description.provenance)
    return any(t["name"] in CHECKPOINTS and is_stated(t["license"]) for t in teachers)


def make_card(
    description: Description,
    network: Mapping[str, Any],
    *,
    place: str,
    results: list[dict[str, Any]] | None = None,
    body: str | None = None,
) -> str:
    """Return a card: front matter between two lines of dashes, then Markdown.

    Parameters
    ----------
    description, network
        Of the tagger's file.
    place
        What the snippet of code loads it by.
    results
        What `results_of_evaluation` or `results_of_family` gave, if it was measured.
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
        front["metrics"] = list(_METRICS)
        front["model-index"] = [{"name": description.name, "results": results}]
    text = _made_body(description, network, results, place) if body is None else body.strip()
    lines = [
        "---",
        *_yaml(front),
        "---",
        "",
        text,
        "",
        "## Citation",
        "",
        "```bibtex",
        CITATION.strip(),
        "```",
    ]
    return "\n".join([*lines, ""])


def results_of_evaluation(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entry of a model index for what an `Evaluation` gave as plain data; none without figures."""
    values = {name: plain.get(f"macro_{name}") for name in _METRICS}
    if not all(isinstance(value, (int, float)) for value in values.values()):
        return []
    dataset = f"{plain['dataset']}, {plain['split']}, {plain['protocol']}: {plain['clips']} clips"
    return [_result(dataset, str(plain["dataset"]), values)]


def results_of_family(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entry of a model index for the figures that `family/quality.py` wrote."""
    human = plain["human"]
    dataset = f"human annotations of {human['clips']} clips of {human['groups']} groups, {human['tags']} tags"
    return [_result(dataset, "human-annotations", {name: human[name]["value"] for name in _METRICS})]


def _result(dataset: str, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": {"type": TASK, "name": "Music tagging"},
        "dataset": {"name": dataset, "type": _slug(kind)},
        "metrics": [
            {"type": name, "name": _METRICS[name], "value": round(float(value), 4)}
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


def _teachers(provenance: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return name and license of each teacher; a name may be followed by a version."""
    names = [str(name).split()[0] for name in provenance.get("teachers") or () if str(name).strip()]
    return [
        {"name": name, "license": CHECKPOINTS[name].license if name in CHECKPOINTS else "see its own card"}
        for name in names
    ]


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the front matter says of a tagger's origin: data sets, base model, teachers."""
    found: dict[str, Any] = {}
    if provenance.get("citation"):  # a published set; a table of one's own has none
        found["datasets"] = [_slug(str(provenance["data"]))]
    body = provenance.get("body")
    if isinstance(body, Mapping) and re.fullmatch(r"[\w.-]+/[\w.-]+", str(body.get("name"))):
        found["base_model"] = str(body["name"])
    if teachers := _teachers(provenance):
        found["teachers"] = teachers
    return found


def _made_body(d: Description, network: Mapping[str, Any], results: list[dict[str, Any]], place: str) -> str:
    tags = ", ".join(d.tags[:12]) + (f" and {len(d.tags) - 12} more" if len(d.tags) > 12 else "")
    lines = [
        f"# {d.name}",
        "",
        "A music tagger: it gives each of its tags a score for a piece of sound.",
        "",
        f"- Version {d.version}. License of the weights: **{d.license}**.",
        f"- Network: {network['architecture']}; input `{d.config.slug}`, "
        f"segments of {d.segment_seconds:.4g} s.",
        f"- {len(d.tags)} tags: {tags}.",
    ]
    if teachers := _teachers(d.provenance):
        named = "; ".join(f"`{t['name']}` ({t['license']})" for t in teachers)
        lines.append(f"- Teachers: {named}. It was trained on their scores and repeats their errors.")
    if data := d.provenance.get("data"):
        lines.append(f"- Trained on {data}, {d.provenance.get('train_clips', 'some')} clips.")
    body = d.provenance.get("body")
    if isinstance(body, Mapping):
        lines.append(f"- It grew from `{body.get('name')}` {body.get('version', '')}".rstrip() + ".")
    lines += [
        "",
        "```python",
        "import lightmel",
        "",
        f"tagger = lightmel.Tagger.from_pretrained({json.dumps(place)})",
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

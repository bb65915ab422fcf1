"""Release folders and their cards: what is in them, and that it is true."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import WRITES, Hub
from typer.testing import CliRunner

import lightmel
from lightmel import hub, sample
from lightmel.checkpoint import read_description, weights_sha256
from lightmel.cli import app
from lightmel.errors import HubError, UnknownModelError, WeightsError
from lightmel.hub import card
from lightmel.training import Trained

ROOT = Path(__file__).parents[2]
FILES = ["README.md", "config.json", "model.safetensors"]
# A warning of the client itself, about how it uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def parts(readme: Path) -> tuple[dict[str, Any], str]:
    """Return the front matter and the page of a card."""
    empty, front, body = readme.read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), body


def runner() -> CliRunner:
    return CliRunner()


def families() -> list[str]:
    return [release.name for release in hub.releases() if release.where == "package"]


@pytest.mark.parametrize("name", families())
def test_the_release_of_a_packaged_tagger(name: str, tmp_path: Path) -> None:
    """Its card is the packaged one, its figures those that were measured, its weights the same bytes."""
    packaged = hub.packaged(name)
    assert packaged is not None
    folder = hub.write_release(packaged, tmp_path / "release")
    free = name.startswith("lightmel-")  # the first tagger learned from what has no license to pass on
    assert sorted(path.name for path in folder.iterdir()) == (["NOTICE"] if free else []) + FILES
    assert (folder / "model.safetensors").read_bytes() == packaged.read_bytes()
    front, body = parts(folder / "README.md")
    assert packaged.with_suffix(".md").read_text(encoding="utf-8").strip() in body
    description = read_description(packaged)
    assert front["library_name"] == "lightmel"
    assert front["pipeline_tag"] == "audio-classification"
    expected = description.license.lower().replace(" ", "-")
    assert front["license"] == expected
    assert [t["name"] for t in front["teachers"]] == [
        t.split()[0] for t in description.provenance["teachers"]
    ]
    assert all(t["license"] == hub.CHECKPOINTS[t["name"]].license for t in front["teachers"])
    assert "\n## What it is for\n" in body
    figures, clips, tags = human_figures(packaged)
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == name
    assert result["task"]["type"] == front["pipeline_tag"]
    assert {m["type"]: m["value"] for m in result["metrics"]} == figures
    assert front["metrics"] == list(figures)
    assert f"of {clips} " in result["dataset"]["name"]
    for metric in result["metrics"]:
        assert metric["name"].endswith(f", mean over {tags} of {len(description.tags)} tags")


def human_figures(packaged: Path) -> tuple[dict[str, float], int, int]:
    """Return what was measured of a packaged tagger against human annotations, of how many clips and tags."""
    measured = packaged.parent / "results" / packaged.with_suffix(".json").name
    if not measured.is_file():  # the first tagger
        report = json.loads(packaged.with_suffix(".json").read_text(encoding="utf-8"))["report"]
        return (
            {"roc_auc": report["roc_auc_student"]},
            report["annotated_clips"],
            len(report["annotated_tags"]),
        )
    human = json.loads(measured.read_text(encoding="utf-8"))["human"]
    figures = {what: human[what]["value"] for what in ("roc_auc", "pr_auc")}
    return figures, human["clips"], human["tags"]


@pytest.mark.parametrize("name", families())
def test_the_client_of_the_hub_reads_the_card(name: str, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    packaged = hub.packaged(name)
    assert packaged is not None
    folder = hub.write_release(packaged, tmp_path / "release")
    data = ModelCard.load(folder / "README.md").data
    assert data.library_name == "lightmel"
    results = data.eval_results or []
    assert len(results) == len(human_figures(packaged)[0])
    assert all(0 < r.metric_value < 1 and r.task_type == data.pipeline_tag for r in results)


def test_the_configuration_says_what_the_file_says(tiny: Callable[..., Any], tmp_path: Path) -> None:
    tagger = tiny(thresholds=(0.1, 0.2, 0.3), provenance={"what": ["ever", 1.5]})
    tagger.save_pretrained(tmp_path / "release")
    plain = json.loads((tmp_path / "release" / "config.json").read_text(encoding="utf-8"))
    d = tagger.description
    assert plain["library_name"] == "lightmel"
    assert plain["frontend"] == d.config.to_dict()
    assert plain["network"] == json.loads(json.dumps(tagger.network.spec()))
    for what in ("name", "version", "license", "segment_samples", "provenance"):
        assert plain[what] == getattr(d, what)
    assert plain["tags"] == list(d.tags)
    assert plain["thresholds"] == list(d.thresholds)


def test_a_folder_is_read_back(tiny: Callable[..., Any], tmp_path: Path) -> None:
    tagger = tiny()
    tagger.save_pretrained(tmp_path / "release")
    again = lightmel.Tagger.from_pretrained(tmp_path / "release")
    assert again.description == tagger.description
    assert weights_sha256(again.network) == weights_sha256(tagger.network)
    assert lightmel.load(tmp_path / "release").description == tagger.description
    lightmel.load("default").save_pretrained(tmp_path / "release")
    tiny(1).save_pretrained(tmp_path / "release")
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == FILES
    assert lightmel.load(tmp_path / "release").name == "tiny-1", "a folder that was written anew is read anew"
    half = tmp_path / "half"
    tagger.save_pretrained(half, dtype="float16")
    assert (half / "model.safetensors").stat().st_size <= (
        tmp_path / "release" / "model.safetensors"
    ).stat().st_size
    with pytest.raises(UnknownModelError, match=r"it is a folder without a model\.safetensors"):
        lightmel.load(tmp_path)


def test_an_empty_name_is_not_the_working_folder(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny().save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert lightmel.load(".").name == "tiny-0"
    for name in ("", " "):
        with pytest.raises(UnknownModelError, match="There is no tagger"):
            lightmel.load(name)


def snippets(body: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", body, re.M | re.S)


@pytest.mark.parametrize("which", [*families(), "made", "pushed"])
def test_the_snippet_of_the_card_runs(
    which: str,
    served: Hub,
    tiny: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tagger = lightmel.load(which) if which in families() else tiny()
    tagger.save_pretrained("release")
    readme = Path("release", "README.md").read_text(encoding="utf-8")
    if which == "pushed":
        hub.push("release", "me/snippet", token=WRITES)
        assert Path("release", "README.md").read_text(encoding="utf-8") == readme, "it stays as it was"
        repo = served.repos["me/snippet"]
        readme = repo.commits[repo.refs["main"]]["README.md"].decode()
        assert '.from_pretrained("me/snippet")\n' in readme
    else:
        monkeypatch.chdir("release")
    shutil.copy(sample.path(), "song.mp3")
    (code,) = snippets(readme)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, which, "exec"), {})
    assert tagger.tag("song.mp3").top(1)[0][0] in printed.getvalue()


def trained(tagger: Any, weights: str) -> Trained:
    from lightmel.evaluation import Evaluation

    evaluation = Evaluation(
        dataset="My set",
        protocol="split by artist",
        split="test",
        model=tagger.name,
        version="1",
        config=tagger.config.slug,
        weights=weights,
        clips=20,
        positives=dict.fromkeys(tagger.tags, 7),
        roc_auc=dict.fromkeys(tagger.tags, 0.75),
        pr_auc=dict.fromkeys(tagger.tags, 0.5),
    )
    return Trained(tagger, [], evaluation)


def test_figures_of_a_training_are_used_if_they_are_of_these_weights(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tagger = tiny(provenance={"data": "My Set 2", "citation": "Me (2026)", "clips": 60})
    trained(tagger, weights_sha256(tagger.network)).save(tmp_path / "mine.safetensors")
    front, body = parts(hub.write_release(tmp_path / "mine.safetensors", tmp_path / "a") / "README.md")
    (result,) = front["model-index"][0]["results"]
    assert [m["value"] for m in result["metrics"]] == [0.75, 0.5]
    assert "My set, test, split by artist: 20 clips: ROC AUC, mean over tags 0.750" in body
    assert "- Trained on My Set 2, 60 clips." in body
    assert [m["name"] for m in result["metrics"]] == ["ROC AUC, mean over tags", "PR AUC, mean over tags"]
    trained(tagger, "0" * 64).save(tmp_path / "mine.safetensors")
    front, body = parts(hub.write_release(tmp_path / "mine.safetensors", tmp_path / "b") / "README.md")
    assert "model-index" not in front
    assert "metrics" not in front
    assert "Nothing that is known of here." in body
    (tmp_path / "mine.json").write_text("{}")
    hub.write_release(tmp_path / "mine.safetensors", tmp_path / "c")


def test_a_tagger_that_goes_by_a_packaged_name_but_is_another_has_a_card_of_its_own(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tiny(name=hub.DEFAULT).save_pretrained(tmp_path / "release")
    front, body = parts(tmp_path / "release" / "README.md")
    assert "model-index" not in front
    assert "245 tags" not in body


def test_edited_weights_under_a_packaged_description_have_a_card_of_their_own(tmp_path: Path) -> None:
    packaged = hub.packaged("default")
    assert packaged is not None
    tagger = lightmel.Tagger.from_pretrained("default", device="cpu")
    own = tagger.network.with_head(len(tagger.tags))
    lightmel.Tagger(own, tagger.description).save_pretrained(tmp_path / "release")
    front, body = parts(tmp_path / "release" / "README.md")
    assert "model-index" not in front
    assert "Nothing that is known of here." in body
    assert "- It started from the weights of `public:schmid2023-audioset-mobilenet` (MIT)." in body
    assert "- Trained on 1680 clips." in body


def test_the_card_of_a_fine_tuned_tagger(tiny: Callable[..., Any], labeled: Path, tmp_path: Path) -> None:
    """Its table is its own: no data set of the Hub; counts by tag are no number of clips."""
    from lightmel.datasets import load_table
    from lightmel.training import FinetuneConfig, finetune

    how = FinetuneConfig(head_epochs=1, epochs=0, batch_size=16, excerpts=1)
    made = finetune(tiny(), load_table(labeled), config=how, device="cpu").tagger
    made.save_pretrained(tmp_path / "release")
    front, body = parts(tmp_path / "release" / "README.md")
    assert "datasets" not in front
    data = made.description.provenance["data"]
    assert f"- Trained on {data}.\n- It grew from `tiny-0` 1.\n" in body
    assert "{" not in body.partition("## Citation")[0]


def test_the_card_of_a_tagger_that_keeps_tags_says_how_many_were_measured(
    tiny: Callable[..., Any], labeled: Path, tmp_path: Path
) -> None:
    from lightmel.datasets import load_table
    from lightmel.training import FinetuneConfig, finetune

    how = FinetuneConfig(head_epochs=1, batch_size=16, excerpts=1, keep_tags=True)
    made = finetune(tiny(), load_table(labeled), config=how, device="cpu")
    made.save(tmp_path / "mine.safetensors")
    assert made.evaluation is not None
    assert (len(made.evaluation.roc_auc), len(made.tagger.tags)) == (3, 6)
    front, body = parts(hub.write_release(tmp_path / "mine.safetensors", tmp_path / "a") / "README.md")
    (result,) = front["model-index"][0]["results"]
    assert [m["name"] for m in result["metrics"]] == [
        "ROC AUC, mean over 3 of 6 tags",
        "PR AUC, mean over 3 of 6 tags",
    ]
    assert "clips: ROC AUC, mean over 3 of 6 tags " in body
    assert "Means are over 3 of 6 tags" in (tmp_path / "mine.md").read_text(encoding="utf-8")


PUBLIC = "public:pons2019-msd-vgg"  # of which the default learned too
DEFAULT = {"name": hub.DEFAULT, "version": "1"}


@pytest.mark.parametrize(
    "provenance",
    [
        {"teachers": [f"{PUBLIC} 1"]},
        {"distillation": {"start": PUBLIC}, "teachers": ["mine 1"]},
        {"body": {"name": PUBLIC, "version": "1", "provenance": {}}},
        {
            "body": {
                "name": "mine",
                "provenance": {"body": {"name": "older", "provenance": {"teachers": [PUBLIC]}}},
            }
        },
        {"body": DEFAULT},
        {"teachers": ["default 1"]},
    ],
)
def test_licenses_go_along_however_a_tagger_came_from_a_published_checkpoint(
    provenance: dict[str, Any], tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tiny(provenance=provenance).save_pretrained(tmp_path / "release")
    _, body = parts(tmp_path / "release" / "README.md")
    assert (tmp_path / "release" / "NOTICE").is_file()
    assert f"`{PUBLIC}`" in body


def test_the_licenses_of_the_default_go_along_with_what_grew_from_it(tmp_path: Path) -> None:
    lightmel.load("default").with_tags(["mine"]).save_pretrained(tmp_path / "release")
    assert (tmp_path / "release" / "NOTICE").is_file()
    front, body = parts(tmp_path / "release" / "README.md")
    assert "public:pons2019-msd-vgg" in [teacher["name"] for teacher in front["teachers"]]
    assert f"- It grew from `{hub.DEFAULT}` 1.\n- What it came from learned from `public:pons2019" in body


@pytest.mark.parametrize(
    ("license", "front"),
    [
        ("MIT", {"license": "mit"}),
        ("CC BY-NC-SA 4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("CC0-1.0", {"license": "cc0-1.0"}),
        ("for comparison only: odd", {"license": "other", "license_name": "for-comparison-only-odd"}),
        ("not stated", {"license": "unknown"}),
        ("not stated (code: MIT)", {"license": "unknown"}),
        ("", {"license": "unknown"}),
    ],
)
def test_licenses(license: str, front: dict[str, str], tiny: Callable[..., Any], tmp_path: Path) -> None:
    tagger = tiny(license=license)
    tagger.save_pretrained(tmp_path / "release")
    found, _ = parts(tmp_path / "release" / "README.md")
    assert {k: v for k, v in found.items() if k.startswith("license")} == front
    if front["license"] == "unknown":
        with pytest.raises(HubError, match="states no license, so that nobody could use it"):
            hub.check_publishable(tagger.description)
    else:
        hub.check_publishable(tagger.description)


def test_words_that_yaml_would_take_for_something_else(tiny: Callable[..., Any], tmp_path: Path) -> None:
    names = ['a "name": - yes', "no", "1.5", "- x\n# y", "läßt"]
    for i, name in enumerate(names):
        tagger = tiny(provenance={"teachers": [f"{name.split()[0]} 1", "null 2"]}, license=name)
        tagger.save_pretrained(tmp_path / str(i))
        front, _ = parts(tmp_path / str(i) / "README.md")
        assert [t["name"] for t in front["teachers"]] == [name.split()[0], "null"]
        assert isinstance(front.get("license_name", front["license"]), str)


def test_the_base_model_is_named_where_it_is_on_the_hub(tiny: Callable[..., Any], tmp_path: Path) -> None:
    for body, base in (("somebody/base", "somebody/base"), ("default", None)):
        tagger = tiny(provenance={"body": {"name": body, "version": "2", "provenance": {}}})
        tagger.save_pretrained(tmp_path / "release")
        front, text = parts(tmp_path / "release" / "README.md")
        assert front.get("base_model") == base
        assert f"It grew from `{body}` 2." in text


def test_the_citation_has_the_facts_of_the_citation_file() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = facts["references"][0]
    assert facts["title"] in card.CITATION
    assert facts["license"] in card.CITATION
    assert facts["authors"][0]["name"] in card.CITATION
    assert paper["title"] in card.CITATION
    assert paper["collection-title"] in card.CITATION
    assert str(paper["year"]) in card.CITATION
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in card.CITATION
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in card.CITATION


# What could be lost.


def test_a_folder_with_other_things_is_left_as_it_is(tiny: Callable[..., Any], tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("years of work")
    with pytest.raises(WeightsError, match="holds other things than a release"):
        tiny().save_pretrained(project)
    (project / "config.json").write_text("[]")
    with pytest.raises(WeightsError, match="holds other things than a release"):
        tiny().save_pretrained(project)
    assert (project / "README.md").read_text() == "years of work"
    with pytest.raises(WeightsError, match="is no folder that can be written to"):
        tiny().save_pretrained(project / "README.md")
    with pytest.raises(WeightsError):
        tiny().save_pretrained(project / "README.md" / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]


def test_a_damaged_file_is_not_released(tmp_path: Path) -> None:
    packaged = hub.packaged("default")
    assert packaged is not None
    (tmp_path / "x.safetensors").write_bytes(packaged.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        hub.write_release(tmp_path / "x.safetensors", tmp_path / "release")
    assert not (tmp_path / "release").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits as POSIX has them")
def test_a_full_disk_leaves_the_earlier_release(tiny: Callable[..., Any], tmp_path: Path) -> None:
    target = tmp_path / "release"
    tiny().save_pretrained(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    code = (
        "import resource, sys, lightmel\nfrom lightmel import hub\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: hub.write_release(hub.packaged('default'), sys.argv[1])\n"
        "except lightmel.LightmelError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.startswith("WeightsError ")
    assert "cannot be written" in done.stdout
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_no_release_folder_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is no release folder: it lacks model\.safetensors, config"):
        hub.push(tmp_path, "me/x", token=WRITES)


# The command.


def test_the_command_makes_a_release_and_publishes_it(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "release"
    done = runner().invoke(app, ["release", "default", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{out}: {hub.DEFAULT} 1, license MIT" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["NOTICE", *FILES]
    assert served.asked == [], "without --push nobody is asked"
    refused = runner().invoke(app, ["release", str(out), "--out", str(out), "--push", "me"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        f"lightmel release: me/{hub.DEFAULT} cannot be published without a token"
    )
    monkeypatch.setenv("HF_TOKEN", WRITES)
    done = runner().invoke(app, ["release", "default", "--out", str(out), "--push", "me"])
    assert done.exit_code == 0, done.output
    assert f"{served.endpoint}/me/{hub.DEFAULT}" in done.stdout
    repo = served.repos[f"me/{hub.DEFAULT}"]
    assert not repo.private
    pushed = repo.commits[repo.refs["main"]]
    assert b"Universitat Pompeu Fabra" in pushed["NOTICE"]
    packaged = hub.packaged("default")
    assert packaged is not None
    assert pushed["model.safetensors"] == packaged.read_bytes()


def test_what_the_command_refuses(tiny: Callable[..., Any], tmp_path: Path) -> None:
    tiny(license="not stated").save(tmp_path / "mine.safetensors")
    out = tmp_path / "release"
    for name, code, text in (
        (str(tmp_path / "mine.safetensors"), 1, "states no license"),
        ("defualt", 1, "Did you mean 'default'?"),
        ("public:won2020-mtat-fcn", 2, "not on this machine"),
        ("somebody/tiny", 2, "not on this machine"),
    ):
        done = runner().invoke(app, ["release", name, "--out", str(out)], env={"COLUMNS": "200"})
        assert done.exit_code == code, done.output
        assert text in done.stderr
        assert not out.exists()


def test_the_release_of_another_tagger_is_not_replaced_unasked(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "release"

    def release(*more: str, **changes: Any) -> tuple[int, str]:
        tiny(license="CC0-1.0", **changes).save(tmp_path / "mine.safetensors")
        done = runner().invoke(app, ["release", str(tmp_path / "mine.safetensors"), "--out", str(out), *more])
        return done.exit_code, " ".join(done.output.split())

    assert release(name="one")[0] == 0
    made = (out / "model.safetensors").read_bytes()
    assert release(name="one")[0] == 0, "the same again"
    assert release(name="one", version="2")[0] == 0, "a newer version of it"
    assert release(name="one")[0] == 0
    code, said = release(name="two")
    assert code == 1
    assert "holds the tagger one 1: name another folder, or say --force" in said
    assert (out / "model.safetensors").read_bytes() == made
    code, said = release(name="one", thresholds=(0.1, 0.2, 0.3))
    assert code == 1
    assert "another one of the same name and version" in said
    assert release("--force", name="two")[0] == 0
    assert (out / "model.safetensors").read_bytes() != made


# Names of the family.


def test_the_planned_names_are_those_of_the_family() -> None:
    students = tomllib.loads((ROOT / "family" / "students.toml").read_text(encoding="utf-8"))["student"]
    assert list(hub.planned()) == [student["name"] for student in students]


def test_a_name_of_the_family_that_is_not_here_says_what_makes_it() -> None:
    lacking = [name for name in hub.planned() if hub.packaged(name) is None]
    assert lacking
    for name in lacking:
        for find in (lightmel.load, lightmel.Tagger.from_pretrained):
            with pytest.raises(
                UnknownModelError, match=rf"python family/train\.py --work WORK --only {name}$"
            ):
                find(name)
        with pytest.raises(UnknownModelError, match=rf"family/train\.py --work WORK --only {name}$"):
            lightmel.load(f"{name}@v1.0")
    with pytest.raises(UnknownModelError, match=f"Did you mean {lacking[0]!r}"):
        lightmel.load(lacking[0][:-1] + "x")


# Graphs


@pytest.mark.parametrize("name", ["lightmel-vgg-16k-mel48-x10-db", "tiny"])
def test_a_release_has_a_complete_graph(
    name: str, graphs: None, tmp_path: Path, tiny: Callable[..., Any]
) -> None:
    packaged = hub.packaged(name)
    source = tmp_path / "tiny.safetensors" if packaged is None else packaged
    if packaged is None:
        tiny(0).save(source)
    folder = hub.write_release(source, tmp_path / "release")
    graph, tagger = lightmel.load(folder / "model.onnx"), lightmel.load(source, runtime="torch")
    assert graph.description == tagger.description
    assert graph.runtime.weights == tagger.runtime.weights
    own, other = graph.tag(sample.path()), tagger.tag(sample.path())
    assert max(abs(own[tag] - other[tag]) for tag in tagger.tags) < 1e-5


def test_a_graph_of_another_release_does_not_stay(tmp_path: Path, tiny: Callable[..., Any]) -> None:
    tiny(0).save(tmp_path / "tiny.safetensors")
    folder = hub.write_release(tmp_path / "tiny.safetensors", tmp_path / "release")
    (folder / "model.onnx").write_bytes(b"of another one")
    hub.write_release(tmp_path / "tiny.safetensors", folder)
    assert not (folder / "model.onnx").exists(), "without the extra there is none"
    said = runner().invoke(app, ["release", "default", "--out", str(tmp_path / "other")])
    assert 'pip install "lightmel[export]"' in said.output

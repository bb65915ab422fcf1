"""The measuring of the family: figures of toy taggers on toy music, page and picture of toy results."""

from __future__ import annotations

import copy
import csv
import json
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel import hub
from lightmel.checkpoint import read_description
from lightmel.errors import ConfigError, DataError
from lightmel.inference import Tagger

FAMILY = Path(__file__).parents[1] / "family"
sys.path.insert(0, str(FAMILY))  # its scripts find each other as they do when they are run

import card  # noqa: E402
import costs  # noqa: E402
import figure  # noqa: E402
import ledger  # noqa: E402
import music as free_music  # noqa: E402
import quality  # noqa: E402

SR = 16_000
Tiny = Callable[..., Tagger]


def write_table(path: Path, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the shared one: 12 clips of 6 artists, 8 with human annotations; 6 of noise."""
    folder = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    tracks: list[list[object]] = [["path", "group"]]
    genres: list[list[object]] = [["path", "genre"]]
    people: list[list[object]] = [["path", "n_clips", "folders", "relation", "voice", "drums", "rare"]]
    (folder / "music" / "toy").mkdir(parents=True)
    for i in range(12):
        path = f"toy/{i:02}.wav"
        wave = 0.1 * np.cumsum(rng.standard_normal(SR + 40 * i)) / 30
        soundfile.write(folder / "music" / path, np.clip(wave, -1, 1), SR)
        tracks.append([path, f"artist {i // 2}"])
        genres.append([path, ("classical", "electronic", "pop", "rock")[i % 4]])
        if i < 8:
            people.append(
                [path, 4, "train", "same_recording", 0.5 * (i % 2), (0.49, 0.5, 0.51)[i % 3], int(i == 0)]
            )
    other: list[list[object]] = [["path", "group"]]
    (folder / "not-music").mkdir()
    for i in range(6):
        soundfile.write(folder / "not-music" / f"{i}.wav", 0.1 * rng.standard_normal(SR), SR)
        other.append([f"{i}.wav", f"speaker {i // 2}"])
    write_table(folder / "music" / "tracks.csv", [*tracks, ["elsewhere.wav", "nobody"]])
    write_table(folder / "music" / "genres.csv", genres)
    write_table(folder / "music" / "human_tags.csv", people)
    write_table(folder / "not-music" / "tracks.csv", other)
    return folder


@pytest.fixture(scope="module")
def saved(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of a student and two teachers, one of which knows other tags."""
    folder = tmp_path_factory.mktemp("taggers")
    tags = {1: ("voice", "rock", "music"), 2: ("voice", "drums", "strings"), 3: ("rock", "voice", "weird")}
    for seed, own in tags.items():
        tiny(seed, tags=own).save(folder / f"{seed}.safetensors")
    return sorted(folder.glob("*.safetensors"))


@pytest.fixture(scope="module")
def results(toys: Path, saved: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote of the student and the first teacher."""
    out, held = (tmp_path_factory.mktemp(name) for name in ("results", "held"))
    (held / "groups.txt").write_text("speaker 2\n\n")
    quality.main(
        [
            *map(str, saved[:2]),
            *("--teachers", *map(str, saved[1:]), "--shared", str(toys), "--out", str(out)),
            *("--cache", str(held), "--robustness-clips", "5"),
            *("--not-music-heldout", str(held / "groups.txt")),
        ]
    )
    return out


@pytest.fixture
def student(results: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / "tiny-1.json").read_text())
    return found


def test_every_figure_says_how_many_clips_and_tags_it_rests_on(student: dict[str, Any]) -> None:
    assert (student["human"]["clips"], student["human"]["groups"]) == (8, 4)
    assert list(student["human"]["per_tag"]) == ["voice"], "the only tag of the tagger that people gave"
    assert student["human"]["per_tag"]["voice"]["true"] == 4, "a half is enough"
    assert (student["genres"]["clips"], student["genres"]["groups"]) == (12, 6)
    assert student["genres"]["rock"]["true"] == 3
    assert student["genres"]["classical"] is None, "it has no such tag"
    assert (student["agreement"]["clips"], student["agreement"]["tags"]) == (12, 2)
    assert (student["robustness"]["clips"], student["robustness"]["tags"]) == (5, 3)
    counts = [[student["music"][k][n] for n in ("music", "not_music", "groups")] for k in ("all", "held_out")]
    assert counts == [[12, 6, 9], [12, 2, 7]]
    assert student["tagger"]["weights"] != student["teachers"]["tiny-2"]["weights"]
    assert student["cost"]["bytes"] > 0


def test_tags_need_three_true_clips(toys: Path) -> None:
    data = quality.Bench.of(toys, 2).annotated
    assert data.tags == ("voice", "drums"), "one clip is too few for the rare one"
    assert data.truth.sum(axis=0).tolist() == [4, 5], "0.49 is not half, 0.5 and 0.51 are"
    assert len(data.of(["drums"])) == len(data.rows) == 8


def test_figures_are_those_of_the_taggers_own_scores(student: dict[str, Any], toys: Path, tiny: Tiny) -> None:
    tagger = tiny(1, tags=("voice", "rock", "music"))
    teachers = tiny(2, tags=("voice", "drums", "strings")), tiny(3, tags=("rock", "voice", "weird"))
    files = sorted((toys / "music" / "toy").glob("*.wav"))
    own = np.array([tagger.tag(f)["voice"] for f in files])
    theirs = np.array([[t.tag(f)["voice"] for t in teachers] for f in files])
    each = np.log(theirs / (1 - theirs))
    mixed = ((each - each.mean(axis=0)) / each.std(axis=0)).mean(axis=1)
    logits = mixed / mixed.std() * each.std(axis=0).mean() + each.mean()
    wanted = np.corrcoef(own, 1 / (1 + np.exp(-logits)))[0, 1]
    assert student["agreement"]["per_tag"]["voice"] == pytest.approx(wanted, abs=6e-5)
    rock = np.array([tagger.tag(f)["rock"] for f in files])
    alone = np.corrcoef(rock, [teachers[1].tag(f)["rock"] for f in files])[0, 1]
    assert student["agreement"]["per_tag"]["rock"] == pytest.approx(alone, abs=6e-5), (
        "who lacks a tag is silent"
    )
    assert student["agreement"]["correlation"] == pytest.approx((wanted + alone) / 2, abs=1e-4)
    truth = np.arange(8) % 2 == 1
    auc = {"own": own[:8], "tiny-2": theirs[:8, 0], "all teachers": logits[:8]}
    for who, scores in auc.items():
        auc[who] = np.mean([[a > b for b in scores[~truth]] for a in scores[truth]])
    found = student["human"]
    assert found["roc_auc"]["value"] == pytest.approx(auc["own"], abs=6e-5)
    for who in ("tiny-2", "all teachers"):
        beside = found["teachers"][who]["roc_auc"]
        assert beside["value"] == pytest.approx(auc[who], abs=6e-5)
        assert beside["difference"]["value"] == pytest.approx(auc["own"] - auc[who], abs=6e-5)
        low, high = beside["difference"]["interval"]
        assert low <= beside["difference"]["value"] <= high
    quieter = [tagger.tag(0.1 * soundfile.read(f, dtype="float32")[0], SR) for f in files]
    drawn = quality.Bench.of(toys, 5).sample
    by_tag = [
        np.corrcoef([tagger.tag(files[i])[tag] for i in drawn], [quieter[i][tag] for i in drawn])[0, 1]
        for tag in tagger.tags
    ]
    assert student["robustness"]["minus_20_db"]["over_clips"] == pytest.approx(np.mean(by_tag), abs=2e-4)


def test_a_teacher_answers_for_a_tag_of_the_same_concept() -> None:
    scores = np.random.default_rng(0).uniform(0.1, 0.9, (9, 2))
    found = quality.blended(
        [quality.Scored(("woman", "Guitar"), scores)], ("guitar", "female vocal", "piano")
    )
    assert found.tags == ("guitar", "female vocal"), "nobody knows the piano"
    assert found.values == pytest.approx(scores[:, ::-1], abs=1e-6)


def test_a_tagger_is_no_teacher_of_its_own(results: Path) -> None:
    teacher = json.loads((results / "tiny-2.json").read_text())
    assert list(teacher["teachers"]) == ["tiny-3"]
    assert list(teacher["human"]["teachers"]) == ["tiny-3"], "one teacher has no mean beside it"
    assert teacher["music"] is None
    assert teacher["agreement"]["tags"] == 1


def test_the_bytes_are_the_same_again_from_the_cache_and_without(
    results: Path,
    toys: Path,
    saved: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [str(saved[1]), "--teachers", str(saved[2]), "--shared", str(toys), "--robustness-clips", "5"]
    wanted = (results / "tiny-2.json").read_bytes()
    quality.main([*arguments, "--out", str(tmp_path / "plain")])
    quality.main([*arguments, "--out", str(tmp_path / "first"), "--cache", str(tmp_path / "cache")])
    monkeypatch.setattr(quality.audio, "load", lambda *_: pytest.fail("all scores are in the cache"))
    quality.main([*arguments, "--out", str(tmp_path / "second"), "--cache", str(tmp_path / "cache")])
    for name in ("plain", "first", "second"):
        assert (tmp_path / name / "tiny-2.json").read_bytes() == wanted


def test_other_clips_are_not_taken_from_the_cache(toys: Path, tiny: Tiny, tmp_path: Path) -> None:
    clips = quality.clips_of(toys / "not-music")
    plain = quality.score(tiny(1), clips, {"plain": [0, 1]}, tmp_path)["plain"].values
    other = quality.score(tiny(1), clips, {"plain": [0, 2]}, tmp_path)["plain"].values
    assert np.array_equal(plain[0], other[0])
    assert not np.array_equal(plain[1], other[1])
    assert not np.array_equal(
        quality.score(tiny(2), clips, {"plain": [0, 1]}, tmp_path)["plain"].values, plain
    )


def test_a_clip_of_other_bytes_is_scored_anew(tiny: Tiny, tmp_path: Path) -> None:
    clips = quality.Clips(tmp_path, ("one.wav",), ("artist",))
    found = []
    for seed in (0, 1):
        noise = 0.1 * np.random.default_rng(seed).standard_normal(SR)
        soundfile.write(tmp_path / "one.wav", noise, SR)
        found.append(quality.score(tiny(1), clips, {"plain": [0]}, tmp_path / "cache")["plain"].values)
    assert not np.array_equal(*found)


def test_a_phone_speaker_leaves_the_middle() -> None:
    time = np.arange(SR) / SR
    for pitch, low, high in (
        (100, 0.0, 0.02),
        (300, 0.69, 0.72),
        (1_000, 0.98, 1.01),
        (3_400, 0.69, 0.72),
        (7_000, 0, 0.06),
    ):
        wave = np.sin(2 * np.pi * pitch * time).astype(np.float32)
        left = np.sqrt(np.mean(quality.phone(wave) ** 2) / np.mean(wave**2))
        assert low <= left <= high, pitch


def test_what_is_not_held_out_is_marked() -> None:
    assert "233 of the 286" in quality.seen("mtat-musicnn-small-16k-mel48-x2-db")["genres"]
    assert set(quality.seen("public:won2020-mtat-musicnn")) == {"human"}
    assert set(quality.seen("public:pons2019-mtat-vgg")) == {"human"}
    assert quality.seen("public:won2020-msd-fcn") == {}


def test_the_note_on_the_default_is_what_its_split_gives(shared: Path) -> None:
    from lightmel.datasets import read_tracks
    from lightmel.distillation import hold_out_tracks

    music = shared / "music"
    tracks = [t for t in read_tracks(music / "tracks.csv") if t.path.suffix == ".opus"]
    trained, _ = hold_out_tracks(tracks, 0.125, 1)  # as the command beside its weights says
    names = {t.path.relative_to(music).as_posix() for t in trained}
    for table, count in (("genres.csv", 233), ("human_tags.csv", 102)):
        with (music / table).open(newline="") as file:
            assert sum(row["path"] in names for row in csv.DictReader(file)) == count


def test_the_music_at_hand_gives_32_tags_on_138_clips(shared: Path) -> None:
    if not (shared / "not-music").is_dir():
        pytest.skip("needs ../shared/not-music")
    bench = quality.Bench.of(shared, 100)
    assert (len(bench.clips), len(bench.noise), len(bench.sample)) == (286, 100, 100)
    assert bench.annotated.truth.shape == (138, 32)
    assert bench.annotated.truth.sum(axis=0).min() == 3


@pytest.mark.parametrize("count", [1, 13])
def test_a_sample_that_cannot_be_is_refused(toys: Path, count: int) -> None:
    with pytest.raises(ConfigError, match=f"2 to 12, not {count}"):
        quality.Bench.of(toys, count)


def test_tables_that_do_not_fit_are_refused(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no group 'speaker 9'"):
        quality.Bench.of(toys, 2, held_out=("speaker 9",))
    clips = quality.clips_of(toys / "music", ["toy/00.wav"])
    with pytest.raises(DataError, match="7 of its clips are not among those measured"):
        quality.annotated(clips, toys / "music" / "human_tags.csv")
    with pytest.raises(DataError, match=r"has no toy/99\.wav"):
        quality.clips_of(toys / "music", ["toy/99.wav"])
    with pytest.raises(SystemExit, match=r"genres\.csv"):
        quality.main(["default", "--shared", str(tmp_path)])


def test_two_taggers_of_one_name_are_refused(toys: Path, saved: list[Path], tmp_path: Path) -> None:
    twice = [str(saved[0])] * 2
    with pytest.raises(SystemExit, match="Two taggers are called tiny-1"):
        quality.main([*twice, "--shared", str(toys), "--out", str(tmp_path), "--robustness-clips", "2"])


# Page and picture


def toy_result(student: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a result as the student's, of another network, cost and figures."""
    r = copy.deepcopy(student)
    r["tagger"] |= {"name": changes["name"], "architecture": changes["kind"], "config": changes["config"]}
    r["cost"]["gmac_per_minute"] = changes["cost"]
    for m in ("roc_auc", "pr_auc"):
        v = changes["value"]
        r["human"][m] = {"value": v, "interval": [v - 0.02, v + 0.02]}
    r["agreement"]["correlation"] = changes["value"] - 0.1
    return r


@pytest.fixture
def family(student: dict[str, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    rows = [
        ("mobilenet", "16k-mel48-x2-db", 0.3, 0.88),
        ("mobilenet", "16k-mel48-x10-db", 0.08, 0.85),
        ("musicnn", "16k-mel48-x2-db", 1.4, 0.86),
        ("vgg", "12k-mel48-x10-log", 0.07, 0.849),
    ]
    for kind, config, cost, value in rows:
        name = f"{kind}-{config}"
        r = toy_result(student, name=name, kind=kind, config=config, cost=cost, value=value)
        (folder / f"{name}.json").write_text(json.dumps(r))
    return folder


def test_page_and_picture_are_written_and_checked(family: Path, tmp_path: Path) -> None:
    where = ["--results", str(family), "--docs", str(tmp_path), "--compared", str(tmp_path / "none")]
    with pytest.raises(SystemExit, match=r"family\.svg, family\.md"):
        figure.main(["--check", *where])
    figure.main(["--write", *where])
    figure.main(["--check", *where])
    page = (tmp_path / "family.md").read_text()
    assert "| `musicnn-16k-mel48-x2-db` | 16k-mel48-x2-db | 1.4 " in " ".join(page.split())
    assert page.count("0.880 (0.860 to 0.900)") == 2
    assert "What freedom costs" not in page
    changed = json.loads((family / "vgg-12k-mel48-x10-log.json").read_text())
    changed["human"]["roc_auc"]["value"] = 0.9
    (family / "vgg-12k-mel48-x10-log.json").write_text(json.dumps(changed))
    with pytest.raises(SystemExit, match=r"run family/figure\.py --write"):
        figure.main(["--check", *where])


def test_the_picture_has_a_marker_and_a_label_for_each_tagger_in_each_panel(family: Path) -> None:
    results = figure.read(family)
    root = ElementTree.fromstring(figure.draw(results))
    space = "{http://www.w3.org/2000/svg}"
    kinds = [e.get("class", "").split() for e in root.iter(f"{space}path")]
    for kind, count in (("mobilenet", 2), ("musicnn", 1), ("vgg", 1)):
        assert sum(k[:2] == ["marker", kind] for k in kinds) == 3 * count + 1, "one more in the legend"
    assert sum(k[0] == "range" for k in kinds) == 8, "correlations have no interval"
    labels = [e.text for e in root.iter(f"{space}text") if e.get("class", "").startswith("label")]
    assert sorted(set(labels)) == ["12k 48 x10 log", "48 x10", "48 x2"]
    assert len(labels) == 12


def test_labels_cover_neither_markers_nor_each_other() -> None:
    at = [(100.0 + 9 * i, 100.0 + 4 * (i % 3)) for i in range(8)]
    boxes = figure.placed(["mel48-x2"] * 8, at, (0, 0, 300, 300))
    markers = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    for i, box in enumerate(boxes):
        assert all(figure.overlap(box, other) == 0 for other in [*markers, *boxes[:i]])


def test_marks_say_what_is_not_held_out(student: dict[str, Any]) -> None:
    plain = figure.pages_table([student])
    assert figure.MARK not in plain
    r = copy.deepcopy(student) | {"seen": {"human": "it saw them", "robustness": "it saw them"}}
    text = figure.pages_table([r])
    assert "† `tiny-1`, human annotations, changed sound: not held out, it saw them." in text
    assert text.count(" †") == 2 + 2 * len(r["human"]["teachers"]) + len(figure.WAYS)
    assert 'class="marker musicnn hollow"' in figure.draw([r])


def test_what_could_not_be_measured_is_a_dash(student: dict[str, Any]) -> None:
    bare = copy.deepcopy(student) | {"human": None, "agreement": None, "music": None}
    cells = [cell.strip() for cell in figure.overview([bare]).splitlines()[-1].split("|")]
    assert cells.count("-") == 7, "ROC and PR AUC, three genres, correlation and top 5"
    assert figure.beside([bare]) == figure.by_category([bare]) == ""
    assert figure.draw([bare, student]).count('class="label ') == 3


def test_categories_have_a_table_of_their_own(student: dict[str, Any]) -> None:
    assert figure.by_category([student]) == "" or "genre" in figure.by_category([student])
    r = copy.deepcopy(student)
    r["agreement"]["per_category"] = {
        "genre": {"tags": 3, "correlation": 0.8},
        "mood": {"tags": 1, "correlation": None},
    }
    assert "| `tiny-1` | 0.800 (3) | - (1) |" in figure.by_category([r])


def test_results_of_two_protocols_make_no_page(student: dict[str, Any]) -> None:
    other = copy.deepcopy(student)
    other["protocol"]["human"] = "otherwise"
    with pytest.raises(SystemExit, match="different protocols"):
        figure.page([student, other])


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no results"):
        figure.main(["--check", "--results", str(tmp_path)])


@pytest.mark.parametrize("low", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("ratio", [3.0, 30.0, 1000.0])
def test_axes_have_some_round_ticks(low: float, ratio: float) -> None:
    ticks = figure.cost_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 8
    assert all(low <= t <= 1.001 * low * ratio for t in ticks)
    values = figure.value_ticks(0.5, 0.5 + 0.01 * math.log(ratio) * low**0.1)
    assert 1 <= len(values) <= 8


def test_the_cards_are_what_the_script_writes() -> None:
    for path in sorted(card.PACKAGE.glob("lightmel-*.safetensors")):
        result = json.loads((figure.RESULTS / f"{path.stem}.json").read_text(encoding="utf-8"))
        written = path.with_suffix(".md").read_text(encoding="utf-8")
        assert written == card.card(path, result), "run `python family/card.py`"


def test_a_card_counts_the_clips_that_were_trained_on() -> None:
    """What is held out of the ledger is left out, and 12 phrases of an instrument stand for its notes."""
    rows = [row for row in ledger.read_rows() if row.used == "train"]
    notes = [row for row in rows if row.path.startswith("instruments/")]
    phrases = free_music.PHRASES * len({Path(row.path).parent.name for row in notes})
    groups = free_music.held_out_not_music(rows)
    held = [row for row in rows if row.path.startswith("not-music/") and row.group in groups]
    whole = len(rows) - len(notes) - len(held)
    for path in sorted(card.PACKAGE.glob("lightmel-*.safetensors")):
        clips = read_description(path).provenance["clips"]
        assert clips == whole + phrases
        text = " ".join(path.with_suffix(".md").read_text(encoding="utf-8").split())
        assert f"Music: {clips} clips, {whole} of them recordings as they are, {phrases} phrases" in text
        assert f"made of {len(notes)} recordings of single notes" in text
        found = re.search(r"Licenses of the (\d+) recordings.*?: (.*?) and (\d+) more\.", text)
        assert found is not None
        assert int(found[1]) == whole + len(notes)
        assert "MIT (" in found[2]
        for name, count in re.findall(r"(\S+) \((\d+)\)", found[2]):
            assert int(count) == sum(row.license == name for row in rows if row not in held), name
        assert int(found[3]) + found[2].count("(") == len({row.license for row in rows if row not in held})


def test_the_page_is_as_the_results_are() -> None:
    if not list(figure.RESULTS.glob("*.json")):
        pytest.skip("no results yet: family/quality.py writes them")
    figure.main(["--check"])


def test_what_freedom_costs_stands_beside_the_free_twin(student: dict[str, Any]) -> None:
    kinds = {"kind": "vgg", "config": "16k-mel48-x2-db", "cost": 0.3}
    free, other, unfree = (
        toy_result(student, name=own, value=value, **kinds)
        for own, value in (("lightmel-vgg-a", 0.81), ("lightmel-vgg-b", 0.82), ("unfree-vgg-a", 0.83))
    )
    text = figure.freedom([free, other], [unfree])
    assert [line.split("`")[1] for line in text.splitlines() if "`" in line and line.startswith("|")] == [
        "lightmel-vgg-a",
        "unfree-vgg-a",
    ]
    assert text in figure.page([free, other], [unfree])
    assert figure.freedom([other], [unfree]) == ""


def test_costs_are_those_of_the_networks() -> None:
    assert costs.TABLE.read_text(encoding="utf-8") == costs.costs_table(), "run `python family/costs.py`"
    for release in hub.releases():
        (row,) = hub.costs_of(release.name)
        assert release.parameters == row.cost.parameters
        assert release.gmac_per_minute == pytest.approx(60 * row.macs_per_second / 1e9, abs=1e-4)

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import lightmel
from lightmel import hub, sample
from lightmel.cli import app
from lightmel.errors import AudioError, LightmelError
from lightmel.inference import Part, Tagging
from lightmel.inference.runtimes import devices

Answers = dict[str, Tagging | LightmelError]
COMMAND = [sys.executable, "-c", "from lightmel.cli import main; main()"]


def test_a_table_says_what_a_person_wants_to_know(runner: CliRunner, answers: Answers) -> None:
    result = runner.invoke(app, ["tag", "song.mp3", "--flat"])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "song.mp3"
    rows = [line.split() for line in lines[1:6]]
    assert [row[0] for row in rows] == ["guitar", "slow", "female", "classical", "strings"]
    assert [row[-1] for row in rows] == ["0.91", "0.50", "0.43", "0.20", "0.10"]
    bars = [line.count("█") for line in lines[1:6]]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] == 29  # .912 of 32 characters
    assert re.fullmatch(r"  30\.0 s · a-model 1\.2 · took \d+\.\d\d s", lines[6])
    assert not lines[7]


@pytest.mark.parametrize("n", [1, 3, 7, 50])
def test_top(runner: CliRunner, answers: Answers, n: int) -> None:
    result = runner.invoke(app, ["tag", "song.mp3", "--flat", "--top", str(n)])
    assert len(re.findall(r" 0\.\d\d$", result.stdout, flags=re.M)) == min(n, 7)


@pytest.mark.parametrize("n", ["0", "-1", "many", "1.5"])
def test_a_senseless_top_is_a_usage_error(runner: CliRunner, answers: Answers, n: str) -> None:
    result = runner.invoke(app, ["tag", "song.mp3", "--top", n])
    assert result.exit_code == 2
    assert "--top" in result.stderr


@pytest.mark.parametrize("width", [12, 20, 30, 40, 60, 80, 200])
@pytest.mark.parametrize("view", [["--flat"], [], ["--all-categories"]])
def test_any_width_of_terminal(runner: CliRunner, answers: Answers, width: int, view: list[str]) -> None:
    command = ["tag", "a rather long name of a song.mp3", *view]
    result = runner.invoke(app, command, env={"COLUMNS": str(width)})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert result.stdout.count("0.91") == 1
    assert ("█" in result.stdout) == (width >= 30 and view == ["--flat"])


def shown(runner: CliRunner, *command: str) -> list[str]:
    """Return the lines but the title, the signature and the empty one."""
    result = runner.invoke(app, ["tag", *command])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[1:-2]


def test_categories_are_shown_where_there_are_some(runner: CliRunner, answers: Answers) -> None:
    assert shown(runner, "song.mp3") == [
        "  Genre        classical 0.20",
        "  Instruments  guitar 0.91, strings 0.10",
        "  Voice        female vocal 0.43",
    ]
    assert shown(runner, "song.mp3", "--top", "1")[1] == "  Instruments  guitar 0.91"
    assert shown(runner, "song.mp3", "--all-categories") == [
        "  Genre        classical 0.20",
        "  Instruments  guitar 0.91, strings 0.10",
        "  Voice        female vocal 0.43",
        "  Tempo        slow 0.50",
    ]
    answers["drums.wav"] = dataclasses.replace(answers_default(), tags=("drums", "guitar"))
    assert shown(runner, "drums.wav")[0].startswith("  drums   ███")  # a tagger of one category
    both = runner.invoke(app, ["tag", "song.mp3", "--flat", "--all-categories"])
    assert both.exit_code == 2
    assert "--flat shows no categories" in both.stderr


def test_thresholds_decide_and_a_category_may_be_unknown(runner: CliRunner, answers: Answers) -> None:
    tags = ("guitar", "house", "techno", "trance", "dubstep", "woman", "mine")
    scores = (0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
    answers["a.mp3"] = dataclasses.replace(
        answers_default(), tags=tags, scores=scores, thresholds=(0.7, 0.1, 0.1, 0.1, 0.1, 0.2, 0.01)
    )
    assert shown(runner, "a.mp3") == [
        "  Genre        house 0.50, techno 0.40, trance 0.30",
        "  Instruments  unknown",
        "  Voice        unknown",
        "  Other        mine 0.05",
    ]
    assert shown(runner, "a.mp3", "--top", "9")[0].endswith("trance 0.30, dubstep 0.20")


def test_a_score_that_no_labels_verified_is_marked(runner: CliRunner, answers: Answers) -> None:
    tags = ("guitar", "house", "techno", "mine")
    tagging = Tagging(
        tags, (0.6, 0.5, 0.4, 0.01), 1.0, False, "m", "1", "CC0-1.0", (), (0.1,) * 4, "music",
        verified=(True, False, True, False),
    )  # fmt: skip
    answers["a.mp3"] = tagging
    assert shown(runner, "a.mp3") == [
        "  Genre        techno 0.40, house ~0.50",
        "  Instruments  guitar 0.60",
        "  ~ not verified: no labels for it",
    ]
    answers["a.mp3"] = dataclasses.replace(tagging, verified=(True, True, True, False))
    assert "~" not in "".join(shown(runner, "a.mp3")), "what is not shown needs no mark"
    assert "~" not in "".join(shown(runner, "a.mp3", "--flat"))
    record = json.loads(runner.invoke(app, ["tag", "--json", "--top", "1", "a.mp3"]).stdout)
    assert (record["verified"], record["thresholds"]) == ({"guitar": True}, {"guitar": 0.1})


@pytest.mark.parametrize("view", [[], ["--flat"], ["--all-categories"]])
def test_what_is_no_music_is_said_first(runner: CliRunner, answers: Answers, view: list[str]) -> None:
    answers["rain.wav"] = Tagging(
        ("rain", "guitar", "rock", "wind"), (0.9, 0.8, 0.7, 0.3), 9.0, False, "m", "1", "CC0-1.0",
        notes=("not music", "music from 0:10 to 0:30", "short"), sound="not music",
        parts=(Part("music", 10, 30),),
    )  # fmt: skip
    lines = shown(runner, "rain.wav", *view)
    assert lines[0] == "  not music"
    assert lines[-2:] == ["  note: music from 0:10 to 0:30", "  note: short"]
    if not view:
        assert lines[1:-2] == ["  Not music  rain 0.90, wind 0.30"]
    elif view == ["--all-categories"]:
        assert "  Genre        unknown" in lines
    else:
        assert lines[2].startswith("  guitar")
    record = json.loads(runner.invoke(app, ["tag", "rain.wav", "--json"]).stdout)
    assert record["categories"] == {
        "genre": "unknown",
        "instrument": "unknown",
        "not music": {"rain": 0.9, "wind": 0.3},
    }
    assert (record["sound"], record["tags"]["guitar"]) == ("not music", 0.8)


def test_a_radio_show_is_not_told_part_by_part(runner: CliRunner, answers: Answers) -> None:
    answers["show.mp3"] = dataclasses.replace(answers_default(), notes=tuple(f"part {i}" for i in range(20)))
    lines = shown(runner, "show.mp3")
    assert lines[-1] == "  and 14 more notes, which --json has"
    assert sum(line.startswith("  note: part") for line in lines) == 6


def test_no_escape_codes_in_a_pipe(runner: CliRunner, answers: Answers) -> None:
    assert "\x1b" not in runner.invoke(app, ["tag", "song.mp3"]).stdout


def test_color_is_for_terminals_that_want_it(runner: CliRunner, answers: Answers) -> None:
    color = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    asked = {"FORCE_COLOR": "1"}
    assert color.search(runner.invoke(app, ["tag", "song.mp3"], env=asked).stdout)
    refused = asked | {"NO_COLOR": "1"}
    assert not color.search(runner.invoke(app, ["tag", "song.mp3"], env=refused).stdout)


def test_notes_are_shown(runner: CliRunner, answers: Answers) -> None:
    tagging = Tagging(("a",), (0.5,), 0.5, True, "m", "1", "CC0-1.0", notes=("only 0.50 s of sound",))
    answers["short.wav"] = tagging
    assert "  note: only 0.50 s of sound\n" in runner.invoke(app, ["tag", "short.wav"]).stdout


def test_one_bad_file_does_not_stop_the_rest(runner: CliRunner, answers: Answers) -> None:
    result = runner.invoke(app, ["tag", "a.mp3", "bad.mp3", "b.mp3"])
    assert result.exit_code == 1
    assert result.stderr == "bad.mp3: it is not sound.\n"
    assert [line for line in result.stdout.splitlines() if line.endswith(".mp3")] == ["a.mp3", "b.mp3"]


def test_names_are_not_read_as_markup_or_escapes(runner: CliRunner, answers: Answers) -> None:
    answers["[bold]\x1b[31m.mp3"] = AudioError("no.")
    result = runner.invoke(app, ["tag", "[red]live[/red].mp3", "[bold]\x1b[31m.mp3"])
    assert result.stdout.startswith("[red]live[/red].mp3\n")
    assert result.stderr == "[bold]\\x1b[31m.mp3: no.\n"


def test_json_is_one_document_a_line(runner: CliRunner, answers: Answers) -> None:
    answers["Dvořák.mp3"] = dataclasses.replace(answers_default(), padded=True, notes=("short",))
    result = runner.invoke(app, ["tag", "--json", "a.mp3", "bad.mp3", "Dvořák.mp3"])
    assert result.exit_code == 1
    assert result.stderr == "bad.mp3: it is not sound.\n"
    first, failed, second = map(json.loads, result.stdout.splitlines())
    error = {"type": "AudioError", "message": "it is not sound."}
    assert failed == {"path": "bad.mp3", "schema": 3, "error": error}
    assert first["path"] == "a.mp3"
    assert list(first["tags"]) == [
        "guitar",
        "slow",
        "female vocalists",
        "classical",
        "strings",
        "rock",
        "opera",
    ]
    assert first["tags"]["guitar"] == 0.912
    assert first["model"] == "a-model"
    assert first["version"] == "1.2"
    assert first["license"] == "CC0-1.0"
    assert (first["schema"], first["thresholds"]) == (3, {})
    assert first["seconds"] == 30.04
    assert (first["padded"], first["notes"]) == (False, [])
    assert second["path"] == "Dvořák.mp3"
    assert (second["padded"], second["notes"]) == (True, ["short"])


def answers_default() -> Tagging:
    return Tagging(("a", "b"), (0.5, 0.25), 0.5, False, "m", "1", "CC0-1.0")


def test_json_with_top(runner: CliRunner, answers: Answers) -> None:
    result = runner.invoke(app, ["tag", "--json", "--top", "2", "a.mp3"])
    assert json.loads(result.stdout)["tags"] == {"guitar": 0.912, "slow": 0.5}


@pytest.mark.parametrize("arguments", [["tag"], ["tag", "--json"], ["tag", "--no-such", "x"], ["tagg"]])
def test_a_senseless_command_line_exits_2(runner: CliRunner, arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_an_unknown_model_is_a_usage_error_with_a_hint(runner: CliRunner) -> None:
    result = runner.invoke(app, ["tag", "--sample", "--model", "public:won2020-mtat-musiccnn"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "'public:won2020-mtat-musicnn'" in result.stderr


def test_a_damaged_model_is_one_line(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nothing of the kind")
    result = runner.invoke(app, ["tag", "--sample", "--model", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("lightmel tag: ")
    assert "broken.safetensors" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_first_command_of_the_readme(runner: CliRunner) -> None:
    result = runner.invoke(app, ["tag", "--sample"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == sample.TITLE
    assert lines[1].startswith("  Genre        ")
    assert re.match(r"  Instruments  .*guitar 0\.", lines[3])
    assert f"24.0 s · {hub.DEFAULT} " in result.stdout


def rounded(tagging: Tagging) -> Tagging:
    """As it is in JSON: five digits of a score, milliseconds."""
    return dataclasses.replace(
        tagging,
        scores=tuple(float(f"{score:.5g}") for score in tagging.scores),
        seconds=round(tagging.seconds, 3),
    )


def test_the_sample_with_a_real_tagger(runner: CliRunner, small_model: Path) -> None:
    result = runner.invoke(app, ["tag", "--sample", "--model", str(small_model), "--json"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["path"] == str(sample.path())
    assert record["seconds"] == pytest.approx(sample.SECONDS, abs=0.01)
    assert set(record["tags"]) == {"guitar", "drums", "voice"}
    assert Tagging.from_dict(record) == rounded(lightmel.load(small_model).tag(sample.path()))
    shown = runner.invoke(app, ["tag", "--sample", "--flat", "--model", str(small_model)]).stdout
    for tag, score in record["tags"].items():
        assert re.search(rf"^  {tag} .* {score:.2f}$", shown, flags=re.M)
    assert "24.0 s · small 1 · took " in shown


def test_json_has_the_taggers_thresholds_and_is_read_back(
    runner: CliRunner, small_model: Path, tmp_path: Path
) -> None:
    small = lightmel.load(small_model)
    fitted = dataclasses.replace(small.description, thresholds=(0.0, 1.0, 0.25))
    model = tmp_path / "fitted.safetensors"
    lightmel.Tagger(small.network, fitted).save(model)
    whole = rounded(lightmel.load(model).tag(sample.path()))
    command = ["tag", "--sample", "--json", "--model", str(model)]
    record = json.loads(runner.invoke(app, command).stdout)
    assert record["thresholds"] == {"guitar": 0.0, "drums": 1.0, "voice": 0.25}
    assert Tagging.from_dict(record) == whole
    best, *_ = whole.top()
    record = json.loads(runner.invoke(app, [*command, "--top", "1"]).stdout)
    assert record["tags"] == dict([best])
    assert record["thresholds"] == {best[0]: dict(zip(whole.tags, whole.thresholds, strict=True))[best[0]]}
    assert Tagging.from_dict(record).above() == ([best] if best in whole.above() else [])
    record = json.loads(runner.invoke(app, [*command, "--above"]).stdout)
    assert record["tags"] == dict(whole.above())
    assert set(record["thresholds"]) == set(record["tags"])
    lines = runner.invoke(app, ["tag", "--sample", "--above", "--model", str(model)]).stdout.splitlines()
    found = whole.by_category()
    assert lines[1:3] == [
        f"  Instruments  {', '.join(f'{tag} {score:.2f}' for tag, score in found['instrument'])}",
        f"  Voice        {', '.join(f'{tag} {s:.2f}' for tag, s in found['voice']) or 'unknown'}",
    ]


def test_above_without_thresholds_is_a_usage_error(runner: CliRunner, small_model: Path) -> None:
    result = runner.invoke(app, ["tag", "--sample", "--above", "--model", str(small_model)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "small has no thresholds of its own" in result.stderr


def test_folders_stand_for_their_sound_at_any_depth_in_order(
    runner: CliRunner, small_model: Path, tmp_path: Path
) -> None:
    folder, empty = tmp_path / "music", tmp_path / "empty"
    names = ["b.wav", "a/z.FLAC", "a/deep/er/1.ogg", "c.aiff"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, 0.1 * np.sin(np.arange(32_000) / 10), 16_000)
    (folder / "a" / "cover.jpg").write_bytes(b"")
    empty.mkdir()
    (empty / "readme.txt").write_text("no sound")
    single = folder / "b.wav"
    command = ["tag", "--json", "--model", str(small_model), str(single), str(folder)]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert found == [str(single), *(str(folder / name) for name in sorted(names))]
    mixed = runner.invoke(app, [*command[:-1], str(empty), str(folder / "a")])
    assert mixed.exit_code == 1
    lines = mixed.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{empty}: a folder without sound: no .mp3, ")
    found = [record["path"] for line in mixed.stdout.splitlines() if "tags" in (record := json.loads(line))]
    assert found == [str(single), str(folder / "a/deep/er/1.ogg"), str(folder / "a/z.FLAC")]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--device", "cuda:99"], "There is no device 'cuda:99' on this machine"),
        (["--device", "nonsense"], "device is one of auto, cpu, cuda, cuda:1, mps, not 'nonsense'"),
        (["--device", "cdua"], "Did you mean 'cuda'?"),
        (["--precision", "flot16"], "Did you mean 'float16'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_device_or_a_precision_that_is_not_there_is_a_usage_error(
    runner: CliRunner, small_model: Path, options: list[str], why: str
) -> None:
    result = runner.invoke(app, ["tag", "--sample", "--model", str(small_model), *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert why in result.stderr.splitlines()[-1]


def test_cpu_and_a_precision_that_it_may_not_have(
    runner: CliRunner, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["tag", "--sample", "--model", str(small_model), "--device", "cpu"]
    assert runner.invoke(app, command).exit_code == 0
    monkeypatch.setattr(devices, "native_precisions", lambda device: ("float32",))
    result = runner.invoke(app, [*command, "--precision", "float16"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert (
        "cpu of this machine does not compute in float16, only in float32" in result.stderr.splitlines()[-1]
    )


def test_bad_files_among_good_ones_with_a_real_tagger(
    runner: CliRunner, small_model: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("la la la")
    empty = tmp_path / "empty.wav"
    empty.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    good = tmp_path / "good.wav"
    soundfile.write(good, 0.1 * np.sin(np.arange(32_000) / 10), 16_000)
    bad = [text, tmp_path / "missing.mp3", empty, folder]
    paths = [str(p) for p in (text, good, *bad[1:], good)]
    result = runner.invoke(app, ["tag", "--json", "--model", str(small_model), *paths])
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["path"] for record in records] == paths
    assert ["error" in record for record in records] == [path != str(good) for path in paths]
    lines = result.stderr.splitlines()
    assert len(lines) == len(bad)
    for path, line in zip(bad, lines, strict=True):
        assert line.startswith(f"{path}: ")
        assert str(path) not in line.removeprefix(f"{path}: ")  # said once


def test_a_reader_that_leaves_early_is_no_traceback(small_model: Path) -> None:
    command = [*COMMAND, "tag", "--json", "--model", str(small_model), *[str(sample.path())] * 3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
        process.wait(timeout=60)
    assert error == b""
    assert process.returncode == 1


def test_the_table_survives_an_encoding_without_blocks(small_model: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [*COMMAND, "tag", "--flat", "--model", str(small_model), str(sample.path())]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    assert b"#" in done.stdout
    assert done.stdout.isascii()


def test_decoders_do_not_chat(small_model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("la la la")
    short = tmp_path / "short.mp3"
    soundfile.write(short, 0.1 * np.sin(np.arange(160_000) / 10), 16_000)
    short.write_bytes(short.read_bytes()[:4000] + bytes(4000))  # damaged: a note of ours, in one line
    command = [*COMMAND, "tag", "--model", str(small_model), str(text), str(short)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{text}: ")
    assert done.stdout.startswith(f"{short}\n")
    assert done.stdout.count("note: cut short: ") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_exits_130_without_a_traceback(small_model: Path) -> None:
    fifo = small_model.with_name("endless.wav")
    code = (
        "import sys, time\n"
        "import lightmel.audio\n"
        "def endless(path, **how):\n"
        "    print('reading', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "lightmel.audio.info = endless\n"
        "from lightmel.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "tag", "--model", str(small_model), str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"reading\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
        process.wait(timeout=30)
    assert process.returncode == 130
    assert error == b"\n"

"""The process of the command line: threads, streams, names that are no text, files that nobody thought of."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from lightmel import sample
from lightmel.cli import app, process
from lightmel.errors import AudioError, LightmelError
from lightmel.inference import Tagging

Answers = dict[str, Tagging | LightmelError]
COMMAND = [sys.executable, "-c", "from lightmel.cli import main; main()"]
LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="names of any bytes, /dev/full and pseudo terminals"
)


def lightmel(
    *command: str | bytes | Path, code: str | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-c", f"{code}\nfrom lightmel.cli import main; main()"] if code else COMMAND
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "check": False,
        "timeout": 120,
        **options,
    }
    return subprocess.run([*program, *command], **options)  # type: ignore[no-any-return]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "good.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(32_000) / 10), 16_000)
    return path


# -- threads

THREADS = """
import atexit, sys, os
def show():
    import torch
    print("threads", torch.get_num_threads(), file=sys.stderr)
atexit.register(show)
"""


@pytest.mark.parametrize(("given", "threads"), [(None, 1), ("2", 2)])
def test_its_own_process_has_one_thread_unless_somebody_says(
    given: str | None, threads: int, small_model: Path, sound: Path
) -> None:
    unset = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    if given is not None:
        environment["OMP_NUM_THREADS"] = given
    done = lightmel("tag", "--model", small_model, sound, code=THREADS, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"threads {threads}" in done.stderr.decode()


def test_a_process_of_somebody_elses_stays_as_it_is(
    runner: CliRunner, small_model: Path, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, threads = dict(os.environ), torch.get_num_threads()
    assert process.jobs(10) == 1
    assert runner.invoke(app, ["tag", "--model", str(small_model), str(sound)]).exit_code == 0
    assert (dict(os.environ), torch.get_num_threads()) == (before, threads)


def test_as_many_files_at_a_time_as_cores_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "cores", lambda: 8)
    for threads, files, wanted in (
        ("1", 100, 8),
        ("1", 3, 3),
        ("4", 100, 2),
        ("9", 9, 1),
        ("0", 9, 8),
        ("x", 9, 1),
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert process.jobs(files) == wanted


@pytest.mark.parametrize("at_once", [1, 3])
def test_files_come_in_the_order_given_however_many_at_a_time(
    runner: CliRunner, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(process, "jobs", lambda files: at_once)
    rng = np.random.default_rng(0)
    names = []
    for i, seconds in enumerate((9.0, 0.5, 3.0, 0.1, 6.0, 1.0, 2.0, 0.2)):
        names.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(names[-1], 0.3 * rng.standard_normal(round(16_000 * seconds)), 16_000)
    names.insert(3, str(tmp_path / "missing.wav"))
    result = runner.invoke(app, ["tag", "--json", "--model", str(small_model), *names])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["path"] for record in records] == names
    assert result.stderr == f"{names[3]}: no such file. Did you mean '7.wav'?\n"
    import lightmel as library

    tagger = library.load(small_model)
    for name, record in zip(names, records, strict=True):
        if "error" not in record:
            scores = dict(zip(*((t := tagger.tag(name)).tags, t.scores), strict=True))
            assert record["tags"] == pytest.approx(scores, rel=1e-4)


# -- what nobody has thought of

BROKEN = """
import lightmel.audio as audio
whole = {name: getattr(audio, name) for name in ("info", "middle", "stream", "load")}
def broken(name):
    def read(path, *args, **kwargs):
        text = str(path)
        if "odd" in text:
            raise ZeroDivisionError("division by\\nzero")
        if "large" in text:
            raise MemoryError
        if "gone" in text:
            import os
            os.path.exists(text) and os.unlink(text)
        return whole[name](path, *args, **kwargs)
    return read
for name in whole:
    setattr(audio, name, broken(name))
"""
UNEXPECTED = (
    "lightmel failed on it, which it should not (ZeroDivisionError: division by zero). Please report this "
    "with the traceback, which `lightmel --debug` shows."
)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A table of eight good clips, and of four that go wrong in other ways."""
    rng = np.random.default_rng(0)
    rows = ["path,tags,group,split"]
    names = [f"{i}.wav" for i in range(8)] + ["odd.wav", "large.wav", "gone.wav", "loud.wav"]
    for i, name in enumerate(names):
        wave = 0.1 * rng.standard_normal(32_000).astype(np.float32)
        if i % 2:
            wave += np.sin(np.arange(32_000) / 5).astype(np.float32)
        if name == "loud.wav":
            wave[1000:1010] = 1e25
        soundfile.write(tmp_path / name, wave, 16_000, subtype="FLOAT")
        rows.append(
            f"{name},{'strings' if i % 2 else 'drums'},g{i},{('train', 'train', 'valid', 'test')[i // 2 % 4]}"
        )
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_a_line_and_the_run_goes_on(small_model: Path, mixed: Path, debug: bool) -> None:
    names = ["0.wav", "odd.wav", "large.wav", "gone.wav", "loud.wav", "1.wav"]
    flags = ["--debug"] if debug else []
    done = lightmel(*flags, "tag", "--json", "--model", small_model, *names, code=BROKEN, cwd=mixed.parent)
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [record["path"] for record in records] == names
    assert [record.get("error", {}).get("type") for record in records] == [
        None, "UnexpectedError", "AudioError", "AudioError", "AudioError", None,
    ]  # fmt: skip
    lines = done.stderr.decode().splitlines()
    assert f"odd.wav: {UNEXPECTED}" in lines
    assert "large.wav: memory ran out on it. Leave it out, or run fewer things at a time." in lines
    assert any(line.startswith("gone.wav: no such file.") for line in lines)
    assert any(
        re.match(r"loud\.wav: small gives scores that are not finite .* scale them to ±1", line)
        for line in lines
    )
    if debug:
        assert lines.count("ZeroDivisionError: division by") == 1
        assert "Traceback (most recent call last):" in lines
    else:
        assert len(lines) == 4


COMMANDS = {
    "features": [
        "features", "clips.csv", "--out", "store", "--frontend", "16k-mel16-x4-db", "--workers", "0",
    ],
    "evaluate": ["evaluate", "clips.csv", "--model", "MODEL", "--split", "train"],
    "calibrate": ["calibrate", "MODEL", ".", "--out", "new"],
    "distill": [
        "distill", ".", "--teacher", "MODEL", "--out", "new", "--student", "musicnn-small-16k-mel16-x4-db",
        "--epochs", "1", "--batch-size", "4", "--segment-seconds", "1", "--holdout", "0.3",
    ],
    "finetune": [
        "finetune", "clips.csv", "--from", "MODEL", "--out", "new", "--embeddings", "--no-augment",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_no_file_ends_the_run_of_a_command(name: str, small_model: Path, mixed: Path) -> None:
    command = [str(small_model) if word == "MODEL" else word for word in COMMANDS[name]]
    done = lightmel(*command, code=BROKEN, cwd=mixed.parent)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "Traceback" not in said
    if name in ("features", "calibrate", "distill"):
        assert f"odd.wav: {UNEXPECTED}" in said
        assert "large.wav: memory ran out on it" in said
        assert "gone.wav: no such file" in said


def test_in_a_child_process_too(mixed: Path) -> None:
    (mixed.parent / "startup").mkdir()
    (mixed.parent / "startup" / "sitecustomize.py").write_text(BROKEN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(mixed.parent / "startup"), *sys.path])}
    command = ["features", "clips.csv", "--out", "store", "--frontend", "16k-mel16-x4-db", "--workers", "2"]
    done = lightmel("--debug", *command, cwd=mixed.parent, env=environment)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert f"odd.wav: {UNEXPECTED}" in said
    assert "raise ZeroDivisionError" in said, "the traceback of the child"


# -- names

NAMES = [
    "new\nline.wav",
    "bell\x07 and escape \x1b[31m.wav",
    "caf\u00e9 \u4f60\u597d.wav",
    "line\u2028separator\x85.wav",
    os.fsdecode(b"latin \xe9 and \xff.wav"),
    "back\\slash.wav",
    " leading.wav",
]


@LINUX
@pytest.mark.parametrize("charset", [None, "ascii", "latin-1", "C"])
def test_any_name_is_a_line_of_json_in_utf_8(charset: str | None, sound: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": charset} if charset else dict(os.environ)
    if charset == "C":
        environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    paths = []
    for name in NAMES:
        paths += [sound.with_name(name), sound.with_name(f"no {name}")]
        paths[-2].write_bytes(sound.read_bytes())
    given = [os.fsencode(path) for path in paths]
    done = lightmel("tag", "--json", *given, env=environment)
    assert done.returncode == 1
    text = done.stdout.decode()  # UTF-8, whatever is set
    records = [json.loads(line) for line in text.splitlines()]
    if charset == "C":  # where Python takes each byte that is not ASCII for itself
        assert [record["path"].encode("ascii", "surrogateescape") for record in records] == given
    else:
        assert [record["path"] for record in records] == [str(path) for path in paths]
    assert ["tags" in record for record in records] == [True, False] * len(NAMES)
    assert all(r["error"]["message"].startswith("no such file") for r in records[1::2])
    lines = done.stderr.decode("latin-1").splitlines()
    assert len(lines) == len(NAMES)
    for line in lines:
        assert line.count("no such file") == line.count("wav: ") == 1, "the name is said once"
    for view in ([], ["--flat"]) if charset in (None, "C") else ():
        shown = lightmel("tag", *view, *given[::2], env=environment)
        assert (shown.returncode, shown.stderr) == (0, b"")
        assert b"\x1b" not in shown.stdout
        assert b"\x07" not in shown.stdout


@LINUX
def test_a_name_that_is_no_text_in_every_walk(small_model: Path, mixed: Path) -> None:
    odd = os.fsencode(mixed.parent) + b"/music \xff"
    os.mkdir(odd)  # noqa: PTH102 - as bytes
    for i in range(4):
        (Path(os.fsdecode(odd)) / f"{i}.wav").write_bytes((mixed.parent / f"{i}.wav").read_bytes())
    (Path(os.fsdecode(odd)) / "bad\n.wav").write_text("no sound")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for command in (
        ["features", odd, "--out", odd + b"/store", "--frontend", "16k-mel16-x4-db", "--workers", "1"],
        ["calibrate", small_model, odd, "--out", odd + b"/new"],
        ["tag", odd],
    ):
        done = lightmel(*command, env=environment)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        assert b"bad\\n.wav: " in done.stderr
        assert (done.returncode == 1) == (command[0] == "tag")


def test_a_path_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.wav").write_text("no sound")
    names = ["./bad.wav", "folder/../bad.wav", ".//bad.wav", "bad.wav"]
    lines = lightmel("tag", *names, cwd=tmp_path).stderr.decode().splitlines()
    for given, line in zip(names, lines, strict=True):
        assert line.startswith(f"{given}: ")
        assert line.count("bad.wav") == 1


# -- streams


@LINUX
@pytest.mark.parametrize("command", [["tag", "SOUND"], ["tag", "--json", "SOUND"], ["models"], ["--version"]])
def test_a_full_disk_is_a_sentence(command: list[str], sound: Path) -> None:
    words = [str(sound) if word == "SOUND" else word for word in command]
    with Path("/dev/full").open("wb") as full:
        done = lightmel(*words, stdout=full)
    assert done.returncode == 1
    assert (
        done.stderr.decode() == "lightmel: the standard output cannot be written: No space left on device.\n"
    )


@LINUX
def test_where_nobody_can_be_told_the_run_goes_on(sound: Path) -> None:
    missing = sound.with_name("missing.wav")
    with Path("/dev/full").open("wb") as full:
        done = lightmel("tag", "--json", missing, sound, stderr=full)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
@pytest.mark.parametrize("command", ["models", "models --json", "tag --json {0} {0} {0} {0}", "--help"])
def test_a_reader_that_has_enough_is_no_error(command: str, sound: Path) -> None:
    program = f"'{sys.executable}' -m lightmel {command.format(sound)}"
    done = subprocess.run(
        ["bash", "-c", f"{program} | head -n 1"], capture_output=True, check=False, timeout=120
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's way to close them")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed(closed: str, sound: Path) -> None:
    command = f"'{sys.executable}' -m lightmel tag --json '{sound}' {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


# -- no home, a cache that cannot be read


NOBODY = """
import os, pwd
os.environ.pop("HOME", None)
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a user without a home is one of Unix")
def test_a_user_without_a_home(tmp_path: Path) -> None:
    kept = ("LIGHTMEL_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE")
    environment = {k: v for k, v in os.environ.items() if k not in kept}
    for command in (["models"], ["tag", "--sample", "--flat"]):
        done = lightmel(*command, code=NOBODY, env=environment, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    environment["HF_HUB_OFFLINE"] = "1"
    for name in ("public:won2020-mtat-musicnn", "owner/name"):
        done = lightmel("tag", "--sample", "--model", name, code=NOBODY, env=environment, cwd=tmp_path)
        assert done.returncode == 1
        (line,) = done.stderr.decode().splitlines()
        assert "LIGHTMEL_CACHE" in line


# -- many files


def test_of_many_files_each_has_a_line(runner: CliRunner, answers: Answers) -> None:
    base = Tagging(("guitar", "slow", "rock"), (0.9, 0.5, 0.1), 3.0, False, "m", "1", "CC0-1.0")
    answers["noted.mp3"] = dataclasses.replace(base, notes=("cut short", "quiet"))
    answers["rain.mp3"] = dataclasses.replace(
        base, tags=("rain", "guitar", "rock"), sound="not music", notes=("not music",)
    )
    answers["quiet.mp3"] = dataclasses.replace(
        base, tags=("guitar", "slow", "rock"), sound="silence", notes=("silence",)
    )
    names = ["a.mp3", "noted.mp3", "rain.mp3", "quiet.mp3", "bad.mp3", "x" * 200]
    result = runner.invoke(app, ["tag", *names, "-n", "2"])
    assert result.stdout.splitlines() == [
        "a.mp3  guitar 0.91, slow 0.50",
        "noted.mp3  guitar 0.90, slow 0.50  (note: cut short, and 1 more)",
        "rain.mp3  not music: rain 0.90",
        "quiet.mp3  silence",
        f"{'x' * 200}  guitar 0.91, slow 0.50",
    ]
    assert result.stderr == "bad.mp3: it is not sound.\n"
    few = runner.invoke(app, ["tag", *names[:3]]).stdout
    assert len(few.splitlines()) > 9
    for view in ("--flat", "--all-categories"):
        assert len(runner.invoke(app, ["tag", *names, view]).stdout.splitlines()) > 20


@LINUX
def test_a_terminal_sees_how_far_it_is_and_a_pipe_does_not(sound: Path) -> None:
    import pty

    names = []
    for i in range(7):
        names.append(sound.with_name(f"{i}.wav"))
        names[-1].write_bytes(sound.read_bytes())
    piped = lightmel("tag", *names)
    assert (piped.returncode, piped.stderr, len(piped.stdout.splitlines())) == (0, b"", 7)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*COMMAND, "tag", *names], stdout=theirs, stderr=theirs, env=environment
    ) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # Linux's answer where the other end is closed
                break
            if not part:
                break
            seen += part
        assert running.wait(timeout=60) == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert re.search(r"1 of 7: tagging", text)
    assert re.search(r"[2-7] of 7, 0:\d\d:\d\d left: tagging", text)
    assert len(re.findall(r"\d\.wav  \w", text)) == 7 or "…" in text
    assert sample.TITLE not in text


def test_an_error_may_be_asked_for_its_traceback(runner: CliRunner, tmp_path: Path) -> None:
    command = ["report", str(tmp_path / "missing.jsonl")]
    plain, debug = lightmel(*command), lightmel("--debug", *command)
    assert plain.returncode == debug.returncode == 1
    assert len(plain.stderr.splitlines()) == 1
    assert b"Traceback (most recent call last)" in debug.stderr
    assert debug.stderr.splitlines()[-1] == plain.stderr.splitlines()[0]
    assert issubclass(AudioError, LightmelError)

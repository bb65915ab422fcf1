"""Claims: one owner at a time, and a dead one is followed by exactly one other."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightmel.errors import TrainingError
from lightmel.studies import claims
from lightmel.studies.claims import claimed, owner

HOLD = """
import sys, time
from pathlib import Path
from lightmel.studies.claims import claimed
with claimed(Path(sys.argv[1]), "a") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_one_at_a_time_and_free_again(tmp_path: Path) -> None:
    with claimed(tmp_path, "a") as mine, claimed(tmp_path, "a") as other, claimed(tmp_path, "b") as elsewhere:
        assert (mine, other, elsewhere) == (True, False, True)
        assert owner(tmp_path, "a") == f"process {os.getpid()} on {claims._self()['host']}"
    assert owner(tmp_path, "a") is None
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path, "a") as again:
        assert again


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), claimed(tmp_path, "a"):
        raise ValueError("mine")
    assert owner(tmp_path, "a") is None


def test_a_living_process_keeps_it_and_a_killed_one_loses_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        with claimed(tmp_path, "a") as mine:
            assert not mine
        process.kill()
        process.wait()
    assert owner(tmp_path, "a") is None
    with claimed(tmp_path, "a") as mine:
        assert mine
        assert [p.name for p in sorted(tmp_path.glob("a.*"))] == ["a.claim-0", "a.claim-1"]
    assert list(tmp_path.iterdir()) == []


def test_another_process_of_the_same_number_is_not_its_owner(tmp_path: Path) -> None:
    plain = claims._self() | {"started": "1"}
    (tmp_path / "a.claim-0").write_text(json.dumps(plain))
    if claims._started(os.getpid()):
        assert owner(tmp_path, "a") is None


def test_an_owner_elsewhere_is_dead_when_it_is_silent_for_long(tmp_path: Path) -> None:
    claim = tmp_path / "a.claim-3"
    claim.write_text(json.dumps(claims._self() | {"place": "elsewhere", "host": "other", "pid": 1}))
    assert owner(tmp_path, "a") == "process 1 on other"
    with claimed(tmp_path, "a") as mine:
        assert not mine
    before = time.time() - claims._SILENT_SECONDS - 1
    os.utime(claim, (before, before))
    with claimed(tmp_path, "a") as mine:
        assert mine
        assert (tmp_path / "a.claim-4").exists()


@pytest.mark.parametrize("why", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_who_may_not_write_sees_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(why, os.strerror(why))

    claim = tmp_path / "a.claim-0"
    claim.write_text(json.dumps(claims._self() | {"place": "elsewhere", "host": "other", "pid": 1}))
    monkeypatch.setattr(claims.tempfile, "NamedTemporaryFile", refuse)
    assert owner(tmp_path, "a") == "process 1 on other"
    os.utime(claim, (1, 1))
    assert owner(tmp_path, "a") is None


def test_the_owner_says_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_TOUCH_SECONDS", 0.02)
    with claimed(tmp_path, "a"):
        claim = tmp_path / "a.claim-0"
        os.utime(claim, (1, 1))
        deadline = time.monotonic() + 10
        while claim.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert claim.stat().st_mtime > 1


def test_who_was_taken_for_dead_leaves_the_claim_of_the_next(tmp_path: Path) -> None:
    with claimed(tmp_path, "a") as mine:
        assert mine
        (tmp_path / "a.claim-1").write_text(json.dumps(claims._self()))
    assert [p.name for p in tmp_path.iterdir()] == ["a.claim-1"]


def test_who_was_taken_for_dead_leaves_the_same_number_of_another(tmp_path: Path) -> None:
    theirs = json.dumps(claims._self() | {"pid": 1})
    with claimed(tmp_path, "a") as mine:
        assert mine
        (tmp_path / "a.claim-0").write_text(theirs)  # it was taken over, given back and taken again
    assert (tmp_path / "a.claim-0").read_text() == theirs


def test_who_looked_too_early_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def slow(source: str, target: Path) -> None:
        (tmp_path / "a.claim-1").write_text(json.dumps(claims._self()))  # of one who took over the first
        link(source, target)

    monkeypatch.setattr(os, "link", slow)
    with claimed(tmp_path, "a") as mine:
        assert not mine
    assert [p.name for p in tmp_path.iterdir()] == ["a.claim-1"]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    with claimed(tmp_path, "a") as mine, claimed(tmp_path, "a") as other:
        assert (mine, other) == (True, False)


TAKE = """
import sys
from pathlib import Path
from lightmel.studies.claims import claimed
print("ready", flush=True)
sys.stdin.readline()
with claimed(Path(sys.argv[1]), "a") as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""


def test_of_several_that_see_a_dead_owner_one_follows(tmp_path: Path) -> None:
    (tmp_path / "a.claim-0").write_text(json.dumps(claims._self() | {"pid": 2**22 + 1}))
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    every = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(4)
    ]

    def heard() -> list[str]:
        return [one.stdout.readline().strip() for one in every if one.stdout is not None]

    def go() -> None:
        for one in every:
            assert one.stdin is not None
            one.stdin.write("\n")

    assert heard() == ["ready"] * 4
    go()
    assert sorted(heard()) == ["False"] * 3 + ["True"]
    go()  # nobody has let go before all have tried
    for one in every:
        one.communicate(timeout=60)
    assert [one.returncode for one in every] == [0] * 4


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="Nothing can be claimed"), claimed(tmp_path / "file", "a"):
        pass

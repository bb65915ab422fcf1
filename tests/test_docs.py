"""The documents tell the truth: their code runs, what they show comes out, and what they name exists."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
import soundfile
import torch

import lightmel
from lightmel import hub, sample
from lightmel.frontends import registry as frontend_registry
from lightmel.models import registry as model_registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
DOCUMENTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
NEEDS_CHECKPOINT = {"public-checkpoints.md"}
CHECKPOINT = "public:won2020-mtat-musicnn"

FENCE = re.compile(r"^(?P<mark>```+|:::+)(?P<language>\S*)[^\n]*\n(?P<code>.*?)^(?P=mark)$", re.M | re.S)
NOT_RUN = re.compile(r"<!-- not run: \S[^>]* -->\n$")
SHOWN_ONLY = {"text"}
RUN = {"python", "console"}
SET_UP = {"bash"}


class Block(NamedTuple):
    """A fenced block: where its code begins, and whether a comment above says why it is not run."""

    line: int
    language: str
    code: str
    not_run: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            line=text.count("\n", 0, match.start()) + 2,
            language=match["language"],
            code=match["code"],
            not_run=NOT_RUN.search(text, 0, match.start()) is not None,
        )
        for match in FENCE.finditer(text)
    ]


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


# What is shown against what comes out.

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.]*\d)|[▏▎▍▌▋▊▉█]+|\.\.\.|\s+")


def same(shown: str, came: str) -> bool:
    """Whether `came` is what is `shown`.

    White space counts only as such; ``...`` stands for anything; of a decimal number the last digit shown
    may be one off, and a bar is a bar, because another processor may round a score the other way.
    """
    pattern, numbers, at = "", [], 0
    shown = shown.strip()
    for match in NUMBER.finditer(shown):
        pattern += re.escape(shown[at : match.start()])
        at, found = match.end(), match[0]
        if found == "...":
            pattern += r"[\s\S]*?"
        elif found.isspace():
            pattern += r"\s+" if not pattern.endswith("*?") and shown[at : at + 3] != "..." else r"\s*"
        elif found[0].isdigit():
            pattern += rf"(\d[\d,]*\.\d{{{len(found.partition('.')[2])}}})"
            numbers.append(found)
        else:
            pattern += "[▏▎▍▌▋▊▉█]+"
    result = re.fullmatch(pattern + re.escape(shown[at:]), came.strip())
    return result is not None and all(
        abs(float(a.replace(",", "")) - float(b.replace(",", ""))) <= 1.01 * 10 ** -len(a.partition(".")[2])
        for a, b in zip(numbers, result.groups(), strict=True)
    )


@pytest.mark.parametrize(
    ("shown", "came", "is_same"),
    [
        ("a 0.25", "a  0.25\n", True),
        ("a 0.25", "a 0.26", True),
        ("a 0.25", "a 0.27", False),
        ("a 0.25", "b 0.25", False),
        ("24 s", "25 s", False),
        ("1,234.5", "1,234.6", True),
        ("...", "", True),
        ("a\n...\nz", "a\nz", True),
        ("a ... z", "a b c z", True),
        ("a ... z", "a b c", False),
        ("████▏ 0.5", "█████ 0.5", True),
        ("████▏ 0.5", "0.5", False),
        ("x2 is 3", "x2 is 4", False),
        ('"seconds": 24...,', '"seconds": 24.03,', True),
    ],
)
def test_what_is_shown_is_compared(shown: str, came: str, is_same: bool) -> None:
    assert same(shown, came) is is_same


# Running the pages.


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample as ``song`` in every format that the pages name."""
    folder = tmp_path_factory.mktemp("music")
    wave, sr = soundfile.read(sample.path())  # not as int16: libsndfile 1.2.2 spoils stereo MP3s of that
    for suffix in ("wav", "flac", "mp3"):
        soundfile.write(folder / f"song.{suffix}", wave, sr)
    return folder


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A reader's folder: music, for some pages a public checkpoint, and no way to a network."""
    shutil.copytree(music, tmp_path, dirs_exist_ok=True)
    cache = tmp_path / "cache"
    monkeypatch.setenv("LIGHTMEL_CACHE", str(cache))
    if request.node.callspec.params["page"].name in NEEDS_CHECKPOINT:
        shared: Path = request.getfixturevalue("shared")
        published = shared / "teachers" / "mtat-musicnn.pth"
        record = hub.CHECKPOINTS[CHECKPOINT]
        target = hub.public_file(record)
        target.parent.mkdir(parents=True)
        shutil.copy(published, target)
        shutil.copy(published, tmp_path / "best_model.pth")
        assert hub.fetch_public(record) == target
    monkeypatch.chdir(tmp_path)
    # A script imports what lies beside it. A page's own front end or network is not for the others.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(frontend_registry, "KINDS", dict(frontend_registry.KINDS))
    monkeypatch.setattr(model_registry, "BUILDERS", dict(model_registry.BUILDERS))
    # The commands of this environment first, a width that does not depend on the terminal, no color.
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    threads = torch.get_num_threads()
    before = set(sys.modules)
    yield tmp_path
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def run_python(block: Block, page: Path, namespace: dict[str, object]) -> str:
    code = "\n" * (block.line - 1) + block.code  # so that a traceback names the page's own line
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(page), "exec"), namespace)
    return printed.getvalue()


def run_console(block: Block, folder: Path) -> None:
    """Run each command after a ``$`` and compare what it prints with the lines below it, if there are any."""
    for part in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if shown.strip():
            assert same(shown, done.stdout), f"{command} printed\n{done.stdout}\ninstead of\n{shown}"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that page is about it
@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_code_of_a_page_runs_and_shows_what_it_says(page: Path, desk: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks(page):
        if block.language == "text" and printed is not None:
            assert same(block.code, printed), f"{page}:{block.line}: printed\n{printed}"
        printed = None
        if block.not_run:
            continue
        if block.language == "python":
            printed = run_python(block, page, namespace)
        elif block.language == "console":
            run_console(block, desk)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_block_escapes(page: Path) -> None:
    for block in blocks(page):
        known = RUN | SET_UP | SHOWN_ONLY
        assert block.language in known or block.language.startswith("{"), f"{page}:{block.line}"
    starts = len(re.findall(r"^(?:```|:::)", page.read_text(encoding="utf-8"), flags=re.M))
    assert starts == 2 * len(blocks(page)), "a fence is left open"


def set_up_commands() -> list[str]:
    listed = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "--commands"], capture_output=True, encoding="utf-8", check=True
    )
    return listed.stdout.splitlines()


def test_ci_runs_the_set_up_commands_of_the_readme() -> None:
    lines = [b.code.strip() for b in blocks(ROOT / "README.md") if b.language in SET_UP]
    assert sorted(lines) == sorted(set_up_commands())
    small, work, first = sorted(lines)
    assert first == "pip install -c constraints.txt . && lightmel tag --sample"
    assert work == 'pip install -c constraints.txt -e ".[dev]" && pytest'
    assert small.startswith("pip install --no-deps . && pip install numpy ")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_other_set_up_commands_name_extras_that_exist(page: Path) -> None:
    known = set_up_commands()
    extras = metadata.metadata("lightmel").get_all("Provides-Extra") or []
    for block in blocks(page):
        for command in block.code.splitlines() if block.language in SET_UP else []:
            if command not in known:
                extra = re.fullmatch(r'pip install "\.\[(\w+)\]"', command)
                assert extra is not None, f"{page}:{block.line}: nobody runs {command!r}"
                assert extra[1] in extras


# What is named exists.


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_id)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_id)
def test_no_figure_is_missing(page: Path) -> None:
    assert re.findall("@@.*?@@", page.read_text(encoding="utf-8")) == []


def test_every_page_can_be_reached() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {line for block in re.findall(r"```\{toctree\}(.*?)```", index, re.S) for line in block.split()}
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in PAGES if p.is_relative_to(DOCS)} - {"index"}
    assert pages <= listed


def test_every_public_name_is_in_the_reference() -> None:
    reference = "".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md"))
    for name in set(lightmel.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", reference), name


def test_every_command_and_option_is_in_the_reference() -> None:
    import typer

    from lightmel.cli import app

    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    commands = dict(typer.main.get_group(app).commands)
    for name, command in [*commands.items()]:  # a command of several words has a section too
        commands |= {f"{name} {own}": part for own, part in getattr(command, "commands", {}).items()}
    for name, command in commands.items():
        section = page.partition(f"## lightmel {name}\n")[2].partition("\n## ")[0]
        assert section, name
        if "(#which-data)" in section:
            section += page.partition("## Which data\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}`" in section, f"lightmel {name} {option}"


def test_the_fields_of_a_line_of_json_are_those_of_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lightmel", "tag", "--sample", "--json"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    page = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, flags=re.M)
    assert named == list(json.loads(done.stdout))


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {lightmel.__version__}\n" in citation


def test_constraints_hold_every_package_that_is_required() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = {line.partition("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    assert "torch==2.13.0" in lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if not line.startswith("#"))
    for requirement in metadata.requires("lightmel") or []:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        if name[0] != "lightmel":
            assert name[0].lower() in held, requirement

"""Read who made the files of a Debian package, and under which licence, from the package itself."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lightmel.errors import DataError

NAMED_HOLDERS = 8
"""Where a paragraph names more copyright holders than this, the ledger names three and counts the others."""


class Statement(NamedTuple):
    """A licence as its source spells it, the holders named with it, and where in the package it stands."""

    license: str
    holder: str
    stated: str


class Package:
    """What a Debian package says about its files, read from the few texts of it that say so.

    Parameters
    ----------
    name
        Its name.
    plan
        Its table in ``statements.toml``.
    version
        The version wanted; where the archive has another, that is read, and `stated` names it.
    cache
        Folder that keeps the texts.
    """

    def __init__(self, name: str, plan: Mapping[str, Any], version: str, cache: Path) -> None:
        self.name, self.plan, self.folder = name, plan, cache / name
        self.copyright = f"usr/share/doc/{name}/copyright"
        named = [
            e["file"] for kind in ("statement", "authors", "open") for e in plan.get(kind, []) if "file" in e
        ]
        fetch(name, version, [self.copyright, *named], self.folder)
        self.version = (self.folder / "VERSION").read_text(encoding="utf-8")
        self.paragraphs = list(paragraphs(self.text(self.copyright)))
        self.authors: dict[str, tuple[str, str]] = {}
        for entry in plan.get("authors", []):
            for file in self.files(entry["file"]):
                self.authors |= AUTHORS[entry["kind"]](file, self.text(file))

    def files(self, glob: str) -> list[str]:
        """Return the paths of the kept texts that a glob matches; a DataError if there is none."""
        there = (f.relative_to(self.folder).as_posix() for f in self.folder.rglob("*") if f.is_file())
        found = sorted(f for f in there if fnmatchcase(f, glob))
        if not found:
            raise DataError(f"{self.name} {self.version} has no {glob}. Correct statements.toml.")
        return found

    def text(self, file: str) -> str:
        """Return a kept text."""
        return (self.folder / self.files(file)[0]).read_text(encoding="utf-8")

    def quoted(self, entry: Mapping[str, str], title: str) -> bool:
        """Return whether an entry's quote stands in its file, line breaks aside, or in the clip's title."""
        said = self.text(entry["file"]) if "file" in entry else title
        return " ".join(entry["quote"].split()) in " ".join(said.split())

    def refusal(self, path: str, title: str) -> str:
        """Return why the licence of an installed file is open, or an empty string.

        Raises
        ------
        DataError
            If the quote that shows it is not where ``statements.toml`` says.
        """
        for entry in self.plan.get("open", []):
            if fnmatchcase(path, entry["files"]):
                self._check(entry, title)
                where = entry.get("file", "title tag of the file")
                return f'{entry["reason"]} ({where}: "{entry["quote"]}")'
        return ""

    def statement(self, path: str) -> Statement | None:
        """Return what covers an installed file: a statement inside the package, else the copyright file.

        Raises
        ------
        DataError
            If a quote is not where ``statements.toml`` says.
        """
        for entry in self.plan.get("statement", []):
            if not fnmatchcase(path, entry["files"]):
                continue
            where = f"{self.name} {self.version}: {entry['file']}"
            if entry.get("kind") == "list":
                found = listed(self.text(entry["file"])).get(PurePosixPath(path).name)
                if found:
                    return Statement(
                        found[0], without_mail(found[1]), f"{where}, entry {path.rsplit('/')[-1]}"
                    )
                continue
            self._check(entry, "")
            scope = " (whole package)" if entry["files"] == "*" else ""
            return Statement(entry["license"], entry["holder"], where + scope)
        return self._by_copyright_file(path)

    def _by_copyright_file(self, path: str) -> Statement | None:
        """Return what the last paragraph that matches says, as the specification of the format has it."""
        here, there = self.plan.get("moved", ["", ""])
        source = there + path.removeprefix(here) if path.startswith(here) else path
        for globs, holders, license in reversed(self.paragraphs):
            glob = next((g for g in reversed(globs) if re.fullmatch(pattern(g), source)), None)
            if glob is None:
                continue
            scope = " (whole package)" if glob == "*" else ""
            where = f"{self.name} {self.version}: {self.copyright}, Files: {glob}{scope}"
            return Statement(license, shortened(holders), where) if license else None
        return None

    def _check(self, entry: Mapping[str, str], title: str) -> None:
        if not self.quoted(entry, title):
            raise DataError(
                f"{self.name} {self.version}: {entry.get('file', 'the title')} does not say "
                f"{entry['quote']!r}. Read it again and correct statements.toml."
            )


def fetch(name: str, version: str, globs: list[str], folder: Path) -> None:
    """Keep those texts of a package that globs match in a folder, and its version in ``VERSION``.

    Nothing is fetched if they are there. The package itself, up to 600 MB, is not kept.

    Raises
    ------
    DataError
        If ``apt-get`` or ``dpkg-deb`` is not there, or has no such package.
    """
    kept = [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]
    if "VERSION" in kept and all(any(fnmatchcase(k, g) for k in kept) for g in globs):
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        wanted = subprocess.run(
            ["apt-get", "-q", "download", f"{name}={version}"], cwd=folder, capture_output=True
        )
        if wanted.returncode:
            subprocess.run(["apt-get", "-q", "download", name], cwd=folder, capture_output=True, check=True)
        (file,) = folder.glob("*.deb")
        found = subprocess.run(
            ["dpkg-deb", "-f", file, "Version"], capture_output=True, check=True, text=True
        )
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as unpack,
            tarfile.open(fileobj=unpack.stdout, mode="r|") as archive,
        ):
            for member in archive:
                path = member.name.removeprefix("./")
                data = archive.extractfile(member) if member.isfile() else None
                if data is None or not any(fnmatchcase(path, g) for g in globs):
                    continue
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data.read())
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise DataError(
            f"The Debian package {name} {version} could not be fetched: {error}. This needs apt-get and "
            "dpkg-deb of Debian 12 with its main section, after apt-get update."
        ) from error
    file.unlink()
    (folder / "VERSION").write_text(found.stdout.strip(), encoding="utf-8")


def paragraphs(text: str) -> Iterator[tuple[list[str], list[str], str]]:
    """Yield globs, copyright holders and short licence name of each ``Files`` paragraph, in order.

    The format is Debian's machine-readable copyright file, version 1.0; of a file in other words nothing is
    yielded.
    """
    if not text.startswith("Format:"):
        return
    for paragraph in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        last: list[str] = []
        for line in paragraph.splitlines():
            if line[:1].isspace():
                last.append(line.strip())
            elif ":" in line:
                key, _, value = line.partition(":")
                last = fields.setdefault(key.lower(), [])
                last.append(value.strip())
        if "files" in fields:
            holders = [h for line in fields.get("copyright", []) if (h := without_mail(line))]
            yield " ".join(fields["files"]).split(), holders, fields.get("license", [""])[0]


def pattern(glob: str) -> str:
    r"""Return a glob of a copyright file as a regular expression: ``*``, ``?``, and ``\*``, ``\?`` as such.

    Both wildcards match slashes too, and a leading ``./`` is nothing.
    """
    wild = {"*": ".*", "?": "."}
    tokens = re.findall(r"\\[*?\\]|.", glob.removeprefix("./"), re.DOTALL)
    return "(?s:" + "".join(wild.get(t) or re.escape(t[-1]) for t in tokens) + ")"


def without_mail(holder: str) -> str:
    """Return a holder as it stands, without addresses of electronic mail."""
    return " ".join(re.sub(r"<[^<>]*@[^<>]*>|\(?\S+@\S+\)?", "", holder).split())


def shortened(holders: list[str]) -> str:
    """Return holders in one cell; of long lists the first three."""
    unique = list(dict.fromkeys(holders))
    if len(unique) <= NAMED_HOLDERS:
        return "; ".join(unique)
    return "; ".join(unique[:3]) + f"; and {len(unique) - 3} more named there"


def listed(text: str) -> dict[str, tuple[str, str]]:
    """Return licence and holder by file name from a list as Naev's ``SOUND_LICENSE.yaml``."""
    found: dict[str, tuple[str, str]] = {}
    holder = license = ""
    for line in text.splitlines():
        if line.startswith("- "):
            holder, license = line[2:].rstrip(": "), ""
        elif line.strip().startswith("license:"):
            license = line.partition(":")[2].strip()
        elif line.strip().startswith("- "):
            found[line.strip()[2:]] = license, holder
    return found


def composed(file: str, text: str) -> dict[str, tuple[str, str]]:
    """Return titles (none) and authors by path from a list "AUTHOR composed:", file names below."""
    folder, author = PurePosixPath(file).parent, ""
    found = {}
    for line in text.splitlines():
        if line.endswith("composed:"):
            author = without_mail(line.removesuffix("composed:"))
        elif line[:1].isspace() and line.strip() and author:
            found[str(folder / line.strip())] = "", author
    return found


def equals(file: str, text: str) -> dict[str, tuple[str, str]]:
    """Return titles (none) and authors by path from lines ``FILE=AUTHOR``."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {str(PurePosixPath(file).parent / name.strip()): ("", who.strip()) for name, who in pairs}


def album(file: str, text: str) -> dict[str, tuple[str, str]]:
    """Return titles and authors by path from Warzone 2100's ``album.json``."""
    folder = PurePosixPath(file).parent
    return {str(folder / t["filename"]): (t["title"], t["author"]) for t in json.loads(text)["tracks"]}


def xml(file: str, text: str) -> dict[str, tuple[str, str]]:
    """Return titles and authors by path from SuperTuxKart's ``.music`` files; a bare ``<`` is mended."""
    music = ElementTree.fromstring(re.sub(r'<(?=[^"<]*>")', "&lt;", text)).attrib
    folder, both = PurePosixPath(file).parent, (music["title"], music["composer"])
    return {str(folder / music[key]): both for key in ("file", "fast-filename") if key in music}


AUTHORS = {"album": album, "composed": composed, "equals": equals, "xml": xml}

"""What the documents show is what happens: the README's session is run, and every link leads somewhere."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_session_in_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    session = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    assert len(session.examples) >= 10
    printed: list[str] = []
    results = doctest.DocTestRunner().run(session, out=printed.append)
    assert results.failed == 0, "".join(printed)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


def test_the_documents_name_no_command_and_no_option_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    from weftdb.server.main import main

    helps = ""
    for arguments in ([], ["serve"], ["sql"], ["load"], ["export"], ["bench"], ["warm"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--help"])
        helps += capsys.readouterr().out
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for line in re.findall(r"weft (?:serve|sql|load|export)[^`|\n]*", text):
            for option in re.findall(r"(?<= )--?[a-z][a-z-]*", line):
                assert re.search(rf"(?<![\w-]){option}\b", helps), f"{document.name}: {line}"


def test_every_command_of_a_document_is_one_that_weft_takes() -> None:
    from weftdb.bench.main import WORKLOADS
    from weftdb.bench.main import _parser as bench_parser
    from weftdb.server.main import _parser

    seen: set[str] = set()
    for document in DOCUMENTS:
        for line in re.findall(r"^    (?:\$ )?(weft [^\n]*)$", document.read_text(encoding="utf-8"), re.MULTILINE):
            command = re.split(r"\s{2,}|\s[#|>]", line)[0]
            words = shlex.split(command)[1:]
            taken = _parser().parse_args(words)  # SystemExit where it is not
            if words[0] == "bench":
                seen.add(bench_parser().parse_args(taken.arguments).name)
    assert seen >= {kind.name for kind in WORKLOADS}, "docs/benchmarks.md lists them all"


def test_the_readme_lists_the_commands_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from weftdb.server.main import main

    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    listed = re.findall(r"^\| `weft ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == set(commands) - {"warm"}  # that is part of the installation

"""What the documents name is there: links, commands, options, variables, files, methods."""

import argparse
import ast
import re
import tomllib
from pathlib import Path

import pytest

from polyp_core.__main__ import _build_parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SETTINGS = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
FOLDERS = ("benchmarks", "deploy", "docs", "pages", "polyp_core", "scripts", "tests", "ui")
# Between our own processes, or for the tests alone: nobody needs to set them.
INNER_VARIABLES = {"POLYP_ASKED_AT", "POLYP_CHROMIUM"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def list_sources() -> list[Path]:
    folders = (ROOT / name for name in ("polyp_core", "ui", "pages"))
    return [ROOT / "app.py", *(path for folder in folders for path in folder.rglob("*.py"))]


def list_anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    text = re.sub(
        "^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    titles = re.findall("^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@each_page
def test_every_link_leads_to_a_file_and_a_heading_of_it(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name) if name else page
        assert found.is_file(), target
        assert found.resolve().is_relative_to(ROOT), target
        assert not anchor or anchor in list_anchors(found), target


@each_page
def test_every_file_of_the_project_that_is_named_is_there(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`([\w./-]+)`", text):
        if name.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            assert (ROOT / name).exists(), name


def list_commands() -> dict[str, argparse.ArgumentParser]:
    parser = _build_parser()
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(actions[0].choices)


@each_page
def test_every_command_that_is_named_is_there_with_its_options(page):
    commands = list_commands()
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in re.findall(r"python -m polyp_core ([\w-]+)([^`\n]*)", text):
        assert name in commands, name
        for option in re.findall(r"(?<=[\s\[])(--[\w-]+)", rest):
            assert option in commands[name]._option_string_actions, f"{name} {option}"


def test_every_option_of_streamlit_that_is_named_is_there():
    from streamlit import config

    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    texts += [read("Dockerfile"), read("deploy", "polyp.service")]
    options = set(re.findall(r"--((?:server|browser|client|theme)\.\w+)", "\n".join(texts)))
    assert {"server.address", "server.allowedHosts"} <= options
    variables = set(re.findall(r"\bSTREAMLIT_[A-Z_]+", "\n".join(texts)))
    known = config.get_config_options()
    assert options <= known.keys()
    assert variables <= {option.env_var for option in known.values()}


def test_variables_are_those_that_the_code_reads():
    code = "\n".join(path.read_text(encoding="utf-8") for path in list_sources())
    documents = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    documents += read("Dockerfile") + read("deploy", "polyp.service")
    read_by_code = set(re.findall(r"\bPOLYP_[A-Z]+(?:_[A-Z]+)*\b", code))
    named = set(re.findall(r"\bPOLYP_[A-Z]+(?:_[A-Z]+)*\b", documents))
    assert named <= read_by_code | INNER_VARIABLES
    assert read_by_code - INNER_VARIABLES <= named


def test_the_run_directory_is_described_as_the_code_has_it():
    text = read("docs", "run-directory.md")
    strings = {
        node.value
        for path in list_sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = re.findall(r"`([\w.]+\.(?:json|csv|npy|h5|keras|tflite|log|lock|png))`", text)
    assert len(named) > 20
    assert [name for name in named if name not in strings] == []
    shipped = [path.name for path in (ROOT / "polyp_core" / "demo_run").iterdir() if path.suffix]
    assert [name for name in shipped if f"`{name}`" not in text] == []


def test_methods_names_every_reference_of_the_code_and_no_module_that_is_not_there():
    text = " ".join(read("docs", "methods.md").split())
    for path in sorted((ROOT / "polyp_core").rglob("*.py")):
        code = " ".join(path.read_text(encoding="utf-8").split())
        for sentence in re.findall(r'References: (.*?)"""', code):
            for place in re.findall(r"[A-Z][a-z]+ (\d+:\d+)", sentence):
                assert place in text, f"{path.name}: {sentence}"
    modules = set(re.findall(r"`([a-z_.]+)`", text)) - {"n", "compact", "model.mirror"}
    assert len(modules) > 20
    for name in modules:
        place = ROOT.joinpath("polyp_core", *name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_citation_is_of_this_version_and_licence():
    lines = read("CITATION.cff").splitlines()
    values = dict(line.split(": ", 1) for line in lines if re.match("[a-z-]+: ", line))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert values["cff-version"] == "1.2.0"
    assert values["version"] == project["version"]
    assert values["license"] == "MIT"
    assert read("LICENSE").startswith("MIT License")
    (author,) = re.findall(r"^authors:\n  - name: (.+)$", read("CITATION.cff"), re.MULTILINE)
    assert f"Copyright (c) 2026 {author}\n" in read("LICENSE")
    assert {"message", "title", "type"} <= values.keys()


def read_dockerfile() -> list[tuple[str, str]]:
    """Instruction and the rest of each line, continued lines joined, without comments."""
    lines = [line for line in read("Dockerfile").split("\n") if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(" ", 1)) for line in joined.split("\n") if line.strip()]


def test_the_container_is_slim_no_root_says_how_it_is_and_keeps_its_runs():
    steps = read_dockerfile()
    by_name = dict(steps)
    (base,) = [rest for name, rest in steps if name == "FROM"]
    # A version and a release of the system, which "latest" and "slim" alone would not be.
    (version,) = re.fullmatch(r"python:(3\.\d+)-slim-[a-z]+", base).groups()
    low, high = re.findall(
        r"3\.(\d+)", tomllib.loads(read("pyproject.toml"))["project"]["requires-python"]
    )
    assert int(low) <= int(version.split(".")[1]) < int(high)
    # After USER nothing is run any more as root; the number is that of the user who was made.
    assert int(by_name["USER"]) > 0
    assert f"--uid {by_name['USER']} " in dict(steps[:3])["RUN"]
    names = [name for name, _ in steps]
    assert "RUN" not in names[names.index("USER") :]
    assert "/_stcore/health" in by_name["HEALTHCHECK"]
    assert "STREAMLIT_SERVER_ADDRESS=0.0.0.0" in by_name["ENV"]
    assert "POLYP_DEMO=0" in by_name["ENV"]
    assert f"POLYP_WORKSPACE={by_name['VOLUME']}" in by_name["ENV"]
    assert by_name["ENTRYPOINT"].startswith("[")  # which hands signals on, and takes options
    assert "ADD" not in names


def test_nothing_but_the_program_goes_into_the_container():
    lines = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    listed = {line[1:] for line in lines if line.startswith("!")}
    assert listed == {
        ".streamlit/config.toml", "app.py", "pages", "polyp_core", "requirements.txt", "ui",
        "LICENSE",
    }  # fmt: skip
    assert all((ROOT / name).exists() for name in listed)


def test_nginx_lets_through_what_the_server_takes():
    site = read("deploy", "nginx.conf")
    (limit_mb,) = re.findall(r"client_max_body_size (\d+)m;", site)
    assert int(limit_mb) > SETTINGS["server"]["maxUploadSize"]
    assert "proxy_set_header Host $http_host;" in site
    assert "proxy_set_header Upgrade $http_upgrade;" in site
    assert site.count("polyp.example.org;") == 2  # the page says: change it in three places
    assert site.count("polyp.example.org") == 3

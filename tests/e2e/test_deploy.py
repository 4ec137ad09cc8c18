"""What docs/ says of servers for others: Community Cloud, nginx, one folder of runs for two."""

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import psutil
import pytest
from playwright.sync_api import expect

from polyp_core.phantom import draw_parameters, render_phantom, write_demo_data
from polyp_core.runs import Run
from tests.conftest import start_run, wait_until
from tests.e2e.conftest import (
    CHROMIUM_FLAGS,
    ROOT,
    Server,
    end,
    find_chromium,
    find_free_port,
    find_stop,
    open_page,
    run_app,
    wait_for_rest,
)

pytestmark = pytest.mark.e2e
PAGES = ("", "data", "train", "results", "predict")
NAME = "polyp.example.org"
DEMO_LIMIT_MB = 450
PATIENCE_MS = 120_000  # a shared machine may be slow


def write_scans(folder: Path, num_images: int) -> list[Path]:
    """Images of as many patients whom the demo model has not seen."""
    folder.mkdir()
    paths = [folder / f"scan-{number:02}.png" for number in range(1, num_images + 1)]
    for number, path in enumerate(paths, start=1):
        cv2.imwrite(str(path), render_phantom(draw_parameters(5, number, 1)))
    return paths


def drop(page, paths: list[Path]) -> None:
    page.locator(".st-key-uploads input[type=file]").set_input_files(paths)


def read_demo_memory_mb(server: Server) -> dict[str, float]:
    """What the server holds, and what its children hold together."""
    process = psutil.Process(server.process.pid)
    children = process.children(recursive=True)
    return {
        "server": server.read_memory_mb(),
        "children": sum(child.memory_info().rss for child in children) / 2**20,
    }


def write_cloud_checkout(folder: Path) -> Path:
    """What the container's image holds, configured as the branch for Community Cloud."""
    folder.mkdir()
    listed = re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for name in listed:
        if "/" not in name:
            (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / ".streamlit", folder / ".streamlit", ignore=lambda *_: {"secrets.toml"})
    settings = folder / ".streamlit" / "config.toml"
    text = (ROOT / "docs" / "deploy-streamlit-cloud.md").read_text()
    (script,) = re.findall(r"sed -i '([^']+)' \.streamlit/config\.toml", text)
    subprocess.run(["sed", "-i", script, str(settings)], check=True)
    assert not re.search("^(address|allowedHosts)", settings.read_text(), re.MULTILINE)
    (secrets,) = re.findall("^ +(POLYP_DEMO = .*)$", text, re.MULTILINE)
    (folder / ".streamlit" / "secrets.toml").write_text(f"{secrets}\n")
    return folder


@pytest.mark.skipif(
    sys.platform != "linux", reason="GNU sed, as on Community Cloud, and its memory"
)
def test_a_shared_demo_as_on_community_cloud_stays_small(page, tmp_path):
    """All pages are shown and ten images answered, by the listed files and the secret alone."""
    page.set_default_timeout(PATIENCE_MS)
    checkout = write_cloud_checkout(tmp_path / "checkout")
    scans = write_scans(tmp_path / "scans", 10)
    # The address is given here alone, so that a test is not open to the network.
    with run_app(tmp_path / "workspace", "--server.address=127.0.0.1", folder=checkout) as server:
        for path in PAGES:
            open_page(page, server, path)
            expect(page.get_by_text("A shared demo of a program")).to_be_visible()
            expect(page.get_by_test_id("stException")).to_have_count(0)
        drop(page, scans)
        expect(page.get_by_text("All (10)")).to_be_visible(timeout=PATIENCE_MS)
        wait_for_rest(page)
        memory_mb = read_demo_memory_mb(server)
        libraries = server.list_libraries()
        assert "Traceback" not in server.log.read_text()
    assert "litert" in libraries
    assert "tensorflow_framework" not in libraries
    assert memory_mb["children"] > 0, "nothing was decoded in a process of its own"
    assert sum(memory_mb.values()) < DEMO_LIMIT_MB, memory_mb
    assert page.foreign_requests == []


def test_two_servers_share_a_runs_folder_and_no_run_is_started_twice(
    page, start_server, data_dir, tmp_path, monkeypatch, request
):
    monkeypatch.setenv("POLYP_RUNS", str(tmp_path / "shared"))
    for name in ("first", "second"):  # a few, so that neither page draws and audits the many
        write_demo_data(tmp_path / name / "demo-data", num_patients=8)
    first, second = start_server(tmp_path / "first"), start_server(tmp_path / "second")
    monkeypatch.setenv("POLYP_WORKSPACE", str(first.workspace))
    run = start_run(data_dir, tmp_path / "shared", "common", "training.epochs=2000")
    request.addfinalizer(run.path("stop").touch)  # whatever happens, it does not train on
    assert run.directory == tmp_path / "shared" / "common"
    other = page.context.new_page()
    other.set_default_timeout(PATIENCE_MS)
    page.set_default_timeout(PATIENCE_MS)
    wait_until(lambda: run.read_status()["state"] == "running", "the run to begin")

    # Both servers show it at work; the second, in whose workspace it was not started, stops it.
    both = (page, other)
    for asked, server in zip(both, (first, second), strict=True):
        asked.goto(f"{server.url}/train?run=common")
        expect(asked.get_by_text("common", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
        expect(find_stop(asked)).to_be_visible(timeout=PATIENCE_MS)
    find_stop(other).click()
    wait_until(lambda: run.read_status()["state"] == "stopped", "the run to stop")
    wait_until(lambda: not run.is_alive(), "its worker to end")

    # Both offer to resume it, and both are taken at their word: one worker comes of it.
    for asked in both:
        expect(find_resume(asked)).to_be_visible(timeout=PATIENCE_MS)
    for asked in both:
        find_resume(asked).click()
    wait_until(run.is_alive, "the worker that goes on")
    for asked in both:
        refusal = asked.get_by_text("and cannot be resumed")
        expect(find_stop(asked).or_(refusal).first).to_be_visible()
    assert count_starts(run) == 2  # the first one, and one of the two that were asked for
    # Its ticket lies with the server that was faster; the other has its own, empty queue.
    queues = [len(list((s.workspace / "queue").glob("*.json"))) for s in (first, second)]
    assert sorted(queues) == [0, 1]
    run.path("stop").touch()
    wait_until(lambda: not run.is_alive(), "the worker to end")
    assert not (first.workspace / "runs").exists()
    assert not (second.workspace / "runs").exists()
    other.close()


def find_resume(page):
    return page.get_by_test_id("stMain").get_by_role("button", name="Resume").first


def count_starts(run: Run) -> int:
    return run.path("worker.log").read_text().count("--- asked to start at")


def write_nginx_settings(folder: Path, app_port: int, ports: tuple[int, int]) -> Path:
    """The shipped file with the ports and places of a test, and what a system puts around it."""
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:8501", f"127.0.0.1:{app_port}"),
        ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{ports[1]} ssl;"),
        ("/etc/ssl/polyp/", f"{folder}/"),
        (f"return 301 https://{NAME}$", f"return 301 https://{NAME}:{ports[1]}$"),
    ):
        assert site.count(old) >= 1, old
        site = site.replace(old, new)
    (folder / "site.conf").write_text(site)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{places}include {folder}/site.conf;\n}}\n"
    )
    return folder / "nginx.conf"


@contextmanager
def run_nginx(folder: Path, app_port: int):
    """nginx on loopback; its two ports, for HTTP and HTTPS."""
    ports = find_free_port(), find_free_port()
    settings = write_nginx_settings(folder, app_port, ports)
    command = [find_nginx(), "-p", str(folder), "-c", str(settings), "-e", f"{folder}/error.log"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_open(ports[1]), f"nginx: {folder}/error.log", timeout_s=20)
        yield ports
    finally:
        end(process)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


needs_nginx = pytest.mark.skipif(
    find_nginx() is None or shutil.which("openssl") is None or os.name != "posix",
    reason="nginx or openssl is not installed, so deploy/nginx.conf is not tried; "
    "`apt-get install nginx-light openssl` brings them",
)


@pytest.fixture
def secure_page(browser):
    """A browser that looks for the name on this computer and trusts a certificate made here."""
    flags = [*CHROMIUM_FLAGS, "--host-resolver-rules=MAP *.example.org 127.0.0.1"]
    own = browser.browser_type.launch(executable_path=find_chromium(), args=flags)
    page = own.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    own.close()


@needs_nginx
def test_behind_nginx_all_goes_through_tls_under_the_one_name(secure_page, tmp_path):
    page, requests, sockets = secure_page, [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda opened: sockets.append(opened.url))
    (tmp_path / "nginx").mkdir()
    options = f"--server.allowedHosts={NAME}"
    with (
        run_app(tmp_path / "workspace", options, POLYP_DEMO="1") as server,
        run_nginx(tmp_path / "nginx", int(server.url.rsplit(":")[-1])) as (port, secure_port),
    ):
        home = f"https://{NAME}:{secure_port}"
        page.goto(f"http://{NAME}:{port}/predict?model=demo")  # which leads to TLS
        wait_for_rest(page)
        assert page.url.startswith(f"{home}/predict")
        expect(page.get_by_role("heading", level=1)).to_have_text("Predict")
        drop(page, write_scans(tmp_path / "scans", 1))  # an upload, with the page's token
        expect(page.get_by_text("Probability of calcified:")).to_have_count(1)
        pictures = page.get_by_test_id("stImage").locator("img")
        expect(pictures).to_have_count(2)
        wait_until(
            lambda: pictures.first.evaluate("i => i.complete && i.naturalWidth > 0"), "a picture"
        )
        assert sockets == [f"wss://{NAME}:{secure_port}/_stcore/stream"]
        own = (f"{home}/", f"http://{NAME}:{port}/", "blob:", "data:")
        assert [url for url in requests if not url.startswith(own)] == []
        # Whoever comes by another name gets the empty frame and no connection.
        page.goto(f"https://www.example.org:{secure_port}/predict")
        access = tmp_path / "nginx" / "access.log"
        refused = re.compile(r'stream HTTP/1.1" 403 ')
        wait_until(lambda: refused.search(access.read_text()), "the refusal of a foreign name")
        expect(page.get_by_role("heading", level=1)).to_have_count(0)
        assert '" 503 ' not in access.read_text()  # no visit met the limits
        assert "[crit]" not in (tmp_path / "nginx" / "error.log").read_text()

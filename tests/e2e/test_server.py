"""The server's own settings, seen over HTTP and the WebSocket as a stranger would try them."""

import http.client
import io
import os
import shutil
import socket
import tomllib
import zipfile
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import ROOT, open_page, run_app

pytestmark = pytest.mark.e2e
SETTINGS = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
MB = 2**20


def ask(server, method: str, path: str, body: bytes = b"", **headers: str):
    """One request; status, headers, body."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def shake_hands(server, host: str, origin: str | None = None) -> str:
    """Open a WebSocket as a browser does; the first line of the answer."""
    address = urlsplit(server.url)
    lines = [
        "GET /_stcore/stream HTTP/1.1", f"Host: {host}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: streamlit",
        *([f"Origin: {origin}"] if origin else []), "", "",
    ]  # fmt: skip
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(200).decode(errors="replace").split("\r\n")[0]


def test_a_stranger_finds_a_healthy_server_that_lets_in_its_own_name_alone(server):
    port = urlsplit(server.url).port
    assert ask(server, "GET", "/_stcore/health")[2] == b"ok"
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST"):
        assert " 101 " in shake_hands(server, host), host
    # A foreign site that is made to lead here (DNS rebinding) comes with its own name.
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil",
                 "[::ffff:7f00:1]", "", "localhost@evil.example"):  # fmt: skip
        assert " 101 " not in shake_hands(server, host), host
    # Another site's page asks with its own origin.
    own = f"127.0.0.1:{port}"
    assert " 101 " in shake_hands(server, own, f"http://{own}")
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert " 101 " not in shake_hands(server, own, origin), origin


def test_nothing_is_uploaded_nor_allowed_to_others_without_the_token(server):
    body = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nb\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    path = "/_stcore/upload_file/a/b"
    for headers in (kind, kind | {"X-Xsrftoken": "made-up"},
                    kind | {"X-Xsrftoken": "a", "Cookie": "_streamlit_xsrf=a"}):  # fmt: skip
        assert ask(server, "PUT", path, body, **headers)[0] == 403
    assert ask(server, "DELETE", path)[0] == 403
    _, headers, _ = ask(server, "GET", "/_stcore/health", Origin="http://evil.example")
    port = urlsplit(server.url).port
    assert headers.get("Access-Control-Allow-Origin") in (None, f"http://localhost:{port}")


def test_files_beside_the_pages_are_not_served(server):
    for path in ("/app/static/README.md", "/app/static/../README.md", "/.streamlit/config.toml",
                 "/media/../README.md", "/media/%2e%2e/README.md", "/_stcore/../README.md",
                 "/component/x/../../README.md", "/%2e%2e/%2e%2e/etc/passwd"):  # fmt: skip
        _, _, body = ask(server, "GET", path)
        assert b"polyp_core" not in body
        assert b"root:" not in body
        assert b"allowedHosts" not in body


def test_it_ends_when_it_is_asked_to(start_server):
    process = start_server().process
    process.terminate()
    assert process.wait(timeout=20) == 0


def write_zip(size: int) -> bytes:
    """A zip of two class folders that takes so many bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("yes/a.png", os.urandom(size))
        archive.writestr("no/b.png", b"x")
    return content.getvalue()


def test_the_page_names_the_limit_that_the_server_keeps(page, start_server, tmp_path):
    page.set_default_timeout(120_000)  # a shared machine may be slow
    server = start_server()
    limit_mb = SETTINGS["server"]["maxUploadSize"]
    open_page(page, server, "data")
    page.get_by_test_id("stMain").get_by_text("Upload", exact=True).click()
    zones = page.get_by_test_id("stFileUploaderDropzone")
    expect(zones).to_have_count(2)
    for number in range(2):
        expect(zones.nth(number)).to_contain_text(f"{limit_mb}MB per file")
    answers, places = [], []
    page.on("response", lambda r: answers.append(r.status) if r.request.method == "PUT" else None)
    page.on("request", lambda r: places.append(r.url) if r.method == "PUT" else None)
    for name, size in (("big.zip", limit_mb + 10), ("fine.zip", limit_mb - 5)):
        (tmp_path / name).write_bytes(write_zip(size * MB))
    page.locator("input[type=file]").last.set_input_files(tmp_path / "big.zip")
    expect(page.get_by_text(f"File must be {limit_mb}.0MB or smaller.")).to_be_visible()
    assert not answers  # refused before it is sent

    page.locator("input[type=file]").last.set_input_files(tmp_path / "fine.zip")
    expect(page.get_by_text("None of the images of class").first).to_be_visible()
    assert answers == [204]

    # Past the page, with the session's own place and token, the server itself refuses too much.
    status = page.evaluate(
        """async ([bytes, where]) => {
            const token = document.cookie.match(/_streamlit_xsrf=([^;]+)/)[1]
            const form = new FormData()
            form.append("x", new Blob([new Uint8Array(bytes)]), "x.zip")
            const headers = { "X-Xsrftoken": token }
            return (await fetch(where, { method: "PUT", headers, body: form })).status
        }""",
        [(limit_mb + 10) * MB, places[0]],
    )
    assert status == 413


def test_an_error_that_nobody_foresaw_shows_no_traceback(page, tmp_path):
    """These settings with a page that raises what a bug would."""
    shutil.copytree(ROOT / ".streamlit", tmp_path / ".streamlit")
    (tmp_path / "broken.py").write_text("raise RuntimeError('the secret of ' + __file__)\n")
    with run_app(tmp_path / "workspace", folder=tmp_path, script="broken.py") as server:
        page.goto(server.url)
        expect(page.get_by_test_id("stException")).to_be_visible()
        said = page.locator("body").inner_text()
    assert "encountered an error" in said
    for word in ("secret", "RuntimeError", "Traceback", str(tmp_path), "Google", "ChatGPT"):
        assert word not in said
    assert "the secret of" in server.log.read_text()  # for whoever runs the server

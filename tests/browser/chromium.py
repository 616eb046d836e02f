"""A headless Chromium and a server of ours, for tests that look at pages as a person does."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from playwright.sync_api import Page, sync_playwright

from api.app import create_app
from runtime.services import Services

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic",
)  # fmt: skip
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
STOP_SECONDS = 10.0


def chromium() -> str:
    """The browser's path; skips loudly without one, fails where the run demands one."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CITYCARD_REQUIRE_BROWSER"):
            pytest.fail("Chromium is not installed, and this run demands it")
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    return found


@contextmanager
def serving(services: Services) -> Iterator[str]:
    """The application on a free loopback port; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(services), log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()


@contextmanager
def page(width: int = 1280, height: int = 900, **options: object) -> Iterator[Page]:
    """A new page; a script error on it fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        opened = browser.new_page(viewport={"width": width, "height": height}, **options)
        trouble: list[str] = []
        opened.on("pageerror", lambda error: trouble.append(str(error)))
        yield opened
        browser.close()
        assert trouble == []

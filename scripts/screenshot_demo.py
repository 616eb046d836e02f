"""Open the console on a finished run in headless Chromium and keep what it shows.

Usage: python scripts/screenshot_demo.py RUN_FOLDER PICTURE.png. Starts ``citycard serve`` on a free loopback port,
fails when the page has a script error, a missing picture, or an equation that does not hold.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
PICTURES_SHOWN = (
    "Array.from(document.images).every(image => image.complete && image.naturalWidth > 0)"
)
STOP_SECONDS = 10


def main() -> int:
    """Take the picture; exit 1 when the page does not show a balanced city."""
    run, picture = Path(sys.argv[1]), Path(sys.argv[2])
    command = [
        str(Path(sys.executable).with_name("citycard")),
        "serve",
        "--data",
        str(run),
        "--port",
        "0",
    ]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        assert server.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stderr.readline())
        if found is None:
            print("serve did not say where it listens", file=sys.stderr)
            return 1
        return look(found.group(), picture)
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)


def look(address: str, picture: Path) -> int:
    """Draw both languages, count marks and broken pictures."""
    trouble: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("pageerror", lambda error: trouble.append(str(error)))
        for lang in ("zh", "en"):
            page.goto(f"{address}?lang={lang}")
            page.wait_for_selector(".proof")
            for image in page.locator("img").all():
                image.scroll_into_view_if_needed()
            page.wait_for_function(PICTURES_SHOWN)
            page.screenshot(path=picture.with_stem(f"{picture.stem}-{lang}"), full_page=True)
        good = page.locator(".proof.good").count()
        browser.close()
    if good != 3:
        trouble.append(f"{good} of 3 equations hold")
    for line in trouble:
        print(f"console: {line}", file=sys.stderr)
    print(f"console: {picture.stem}-zh.png, {picture.stem}-en.png, {len(trouble)} failures")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())

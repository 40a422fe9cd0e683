"""What is asked of every page: what it loads, what it says, and whether it shows."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread


class Page(HTMLParser):
    """What a browser would load, which identifiers there are, and the text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def is_drawn(path: Path) -> bool:
    """Whether an image shows more than an empty page."""
    pixels = imread(path)[..., :3]
    coloured = np.ptp(pixels, axis=-1) > 0.2
    return bool(coloured.mean() > 0.0005)


def screenshot(page: Path, directory: Path) -> Path:
    """What a browser shows of a page, 1200 by 1600; the test is skipped where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed, and pip has none; the rest of the page is tested")
    image = directory / "screen.png"
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={directory / 'browser'}", "--hide-scrollbars"),
            *("--window-size=1200,1600", f"--screenshot={image}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return image

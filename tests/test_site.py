"""The site builds without a warning, and a browser shows every page of it from a folder: nothing missing, nothing from afar."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_reference import MODULES, WORDS, offered
from tutorials.chapter import ROOT, chapters

pytestmark = pytest.mark.slow
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = {"wide": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(module, reason="the site needs the docs extra: pip install -e '.[docs]'")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(target / "cache"), "tutorials", str(target / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target / "html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="looking at the site needs playwright: pip install playwright")
    if not BROWSER:
        pytest.skip("looking at the site needs Chromium on the PATH")
    with playwright.sync_playwright() as p:
        profile = str(tmp_path_factory.mktemp("profile"))
        context = p.chromium.launch_persistent_context(profile, executable_path=BROWSER, headless=True, args=FLAGS)
        yield context
        context.close()


PROSE = """
Array.from(document.querySelectorAll('article p, article li, article td, article h1, article h2')).map(e => {
    const copy = e.cloneNode(true);
    copy.querySelectorAll('code, pre').forEach(x => x.remove());
    return copy.textContent;
}).join('\\n')
"""
BROKEN = "Array.from(document.images).filter(i => !i.naturalWidth).map(i => i.src)"
SPILL = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def look(page: Any, address: str) -> list[str]:
    """What is wrong with a page, as a reader sees it, with all that can be unfolded unfolded."""
    faults: list[str] = []
    listeners = {
        "console": lambda message: faults.append(f"console: {message.text}") if message.type in ("error", "warning") else None,
        "pageerror": lambda error: faults.append(f"error: {error}"),
        "requestfailed": lambda request: faults.append(f"failed: {request.url}"),
        "request": lambda request: faults.append(f"from afar: {request.url}") if not request.url.startswith(("file:", "data:")) else None,
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    faults += [f"broken picture: {source}" for source in page.evaluate(BROKEN)]
    faults += [f"raw $: {line}" for line in page.evaluate(PROSE).splitlines() if "$" in line]
    spill = page.evaluate(SPILL)
    faults += [f"{spill} pixels wider than the screen"] if spill > 0 else []
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    return faults


def pages(site: Path) -> list[Path]:
    return sorted(site.glob("*.html"))


def test_there_is_a_page_for_each_chapter_and_a_search(site: Path) -> None:
    names = {page.stem for page in pages(site)}
    assert {path.stem for path in chapters()} | {"index", "search", "reference", "conventions", "drawings_compared"} <= names


def test_the_reference_shows_every_public_name(site: Path) -> None:
    html = (site / "reference.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'id="([\w.]+)"', html))
    missing = [name for module in MODULES for name, _ in offered(module) if name not in shown and name.rpartition(".")[2] not in WORDS]
    assert not missing, ", ".join(missing)


def test_nothing_comes_from_afar(site: Path) -> None:
    for page in pages(site):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(https?:[^\"]*)\"", page.read_text(encoding="utf-8"))
        assert not loaded, page.name


@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_whole(site: Path, browser: Any, size: str) -> None:
    page = browser.new_page()
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    both = [*pages(site), *sorted((site / "img").glob("*.html"))]
    faults = {path.name: found for path in both if (found := look(page, path.as_uri()))}
    page.close()
    assert not faults


def test_pages_to_step_through_go_from_the_first_value_to_the_last_gradient(site: Path, browser: Any) -> None:
    page = browser.new_page()
    for path in sorted((site / "img").glob("*.html")):
        page.goto(path.as_uri())
        steps = page.evaluate("steps")
        for k in range(len(steps)):
            assert page.inner_text("#says") == steps[k]["says"]
            page.click("#next")
        gradients = {name: text for told in steps for name, text in told.get("gradient", {}).items()}
        assert set(page.locator("text.gradient").all_text_contents()) == set(gradients.values()), path.name
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#says") == steps[-2]["says"]
    page.close()


def test_a_page_with_faults_is_noticed(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<article><p>raw $x$</p><img src='gone.png'><div style='width: 3000px'>wide</div></article>"
        "<script>console.error('one'); undefined.two</script><script src='http://localhost:9/three.js'></script>"
    )
    page = browser.new_page()
    found = " | ".join(look(page, bad.as_uri()))
    page.close()
    for fault in (
        "raw $: raw $x$",
        "broken picture",
        "pixels wider",
        "console: one",
        "error: ",
        "failed: ",
        "from afar: http://localhost:9",
    ):
        assert fault in found, fault


def test_every_link_leads_somewhere(site: Path, browser: Any) -> None:
    page = browser.new_page()
    anchors: dict[Path, set[str]] = {}
    links: list[tuple[str, str]] = []
    for path in pages(site):
        page.goto(path.as_uri())
        anchors[path] = set(page.evaluate("Array.from(document.querySelectorAll('[id]')).map(e => e.id)"))
        links += [(path.name, link) for link in page.evaluate("Array.from(document.links).map(a => a.href)")]
    page.close()
    for name, link in links:
        if link.startswith("file:"):
            file, _, anchor = link.partition("#")
            target = Path(file.removeprefix("file://"))
            assert target.exists(), f"{name}: {link}"
            assert not anchor or target not in anchors or anchor in anchors[target], f"{name}: {link}"


def test_the_search_finds_words_of_the_book_without_a_server(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=history")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    found = page.evaluate("Array.from(document.querySelectorAll('#search-results li a')).map(a => a.href)")
    assert any("01_" in link for link in found)
    page.close()

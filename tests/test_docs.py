"""The pages build without a warning, need no network, and leave out no script, figure or name."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import opnet
import runners
from experiments.__main__ import scripts
from experiments.rows import BROKEN, table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FIGURES = sorted((DOCS / "figures").rglob("*.*"))
LOADED = ("src", "srcset", "poster", "data", "style")  # attributes; the href of <link> too


class Loaded(HTMLParser):
    """What a browser fetches by itself for a page: scripts, styles, images; not what <a> names."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        keys = (*LOADED, "href") if tag == "link" else LOADED
        self.found += [value or "" for key, value in attrs if key in keys]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", out / "doctrees", DOCS, out / "html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out / "html"


def test_the_pages_fetch_nothing_from_the_network(built):
    pages = sorted(built.rglob("*.html"))
    assert len(pages) > len(scripts())
    for page in pages:
        loaded = Loaded(page.read_text()).found
        assert loaded
        assert not [address for address in loaded if "//" in address]
        assert all((page.parent / a.partition("?")[0]).exists() for a in loaded if ".png" in a)
    for sheet in built.rglob("*.css"):
        text = sheet.read_text()
        assert not [part for part in text.split("url(")[1:] if "//" in part.partition(")")[0]]
        assert not [part for part in text.split("@import")[1:] if "//" in part.partition(";")[0]]


@pytest.mark.parametrize("name", scripts())
def test_every_script_has_a_derivation_its_figures_and_its_source(built, name):
    source = DOCS / "experiments" / f"{name}.md"
    assert source.exists(), f"{source} is missing: what the script shows, and its derivation"
    assert "## Derivation" in source.read_text()
    page = (built / "experiments" / f"{name}.html").read_text()
    assert f"experiments/{name}.html" in (built / "experiments.html").read_text()
    assert "__main__" in page
    for figure in FIGURES:
        if figure.parent.name == name:
            assert f"_images/{figure.stem}" in page


def test_every_figure_is_a_picture_of_a_script_and_in_the_gallery(built):
    gallery = (built / "gallery.html").read_text()
    assert {path.parent.name for path in FIGURES} <= set(scripts())
    assert {path.suffix for path in FIGURES} == {".png"}
    assert all(f'alt="{path.parent.name}: {path.stem}"' in gallery for path in FIGURES)


def test_every_public_name_is_in_the_api(built):
    api = (built / "api.html").read_text()
    names = [f"opnet.{name}" for name in opnet.__all__]
    names += [f"runners.{name}" for name in runners.__all__]
    assert not [name for name in names if f'id="{name}"' not in api]


def test_the_ledger_of_the_docs_is_one_that_holds():
    lines = (DOCS / "ledger_table.md").read_text().splitlines()
    assert lines[:2] == table([], markdown=True).splitlines()
    assert len(lines) > 50
    assert not [line for line in lines if BROKEN in line]

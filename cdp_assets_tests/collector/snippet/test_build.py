"""The committed file is what the manifest says, built from the sources beside it, and small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

from cdp_assets.collector import snippet

FOLDER = Path(snippet.__file__).parent


def test_the_built_file_is_the_one_of_the_manifest() -> None:
    built = snippet.build()
    digest = base64.b64encode(hashlib.sha384(snippet.script()).digest()).decode()
    assert built.integrity == f"sha384-{digest}"
    assert built.file == f"cdp-{built.version}.min.js"
    assert built.bytes == len(snippet.script())
    assert json.loads((FOLDER / "package.json").read_text())["version"] == built.version


def test_the_file_was_built_from_these_sources() -> None:
    """After a change in src/: `npm ci && node build.mjs` in the snippet's folder."""
    sources = b"".join(path.read_bytes() for path in sorted((FOLDER / "src").iterdir()))
    assert snippet.build().sources_sha256 == hashlib.sha256(sources).hexdigest()


def test_it_stays_under_six_kilobytes_gzipped() -> None:
    assert len(gzip.compress(snippet.script(), 9)) < 6000


def test_it_names_its_licence_and_loads_nothing() -> None:
    text = snippet.script().decode()
    assert re.match(r"/\*! cdp\.js \d+\.\d+\.\d+ Copyright .* MIT \*/", text)
    assert not re.search(r"https?://(?!\[|\()", text)


def test_the_tag_cannot_be_left_by_an_option() -> None:
    tag = snippet.tag("k</script><script>alert(1)", "https://c.example", {"path": "</script>"})
    assert tag.count("</script>") == 2
    assert snippet.build().integrity in tag

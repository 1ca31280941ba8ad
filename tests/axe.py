"""axe-core, which finds what a page is to somebody who does not see it or uses no mouse.

It is got from npm's registry once, by its hash (MPL-2.0; nothing of it is in what users get).
"""

import hashlib
import io
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

from browser import Browser

VERSION = "4.10.2"
URL = f"https://registry.npmjs.org/axe-core/-/axe-core-{VERSION}.tgz"
SHA512 = (
    "444de6750ecfdc54527bb7aa096a1e43f67d417aed9e24a3a75c148ede67442d"
    "d6229cf9ad20af7baa377ec676682a49b6b663499823c170284cee64e2d108d3"
)
CACHE = Path.home() / ".cache/llmpi/axe"
SERIOUS = ("serious", "critical")


def script() -> str:
    """The program, as it runs in a page."""
    cached = CACHE / f"{SHA512[:16]}.js"
    if not cached.is_file():
        with urllib.request.urlopen(URL, timeout=60) as answer:
            package = answer.read()
        assert hashlib.sha512(package).hexdigest() == SHA512, f"{URL} is another file"
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member
            program = member.read()
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        partial.write_bytes(program)
        partial.rename(cached)
    return cached.read_text(encoding="utf-8")


def serious_findings(browser: Browser) -> list[str]:
    """What axe calls serious or critical in the page that is open, with the first place of each."""
    browser.evaluate(script())
    browser.evaluate(
        # Of what passes it would put together every place.
        "void axe.run(document, { resultTypes: ['violations'] })"
        ".then((found) => { window.axeFound = found; })"
    )
    browser.wait_for("Boolean(window.axeFound)")
    found: list[dict[str, Any]] = browser.evaluate(
        "axeFound.violations.map(({ id, impact, nodes }) =>"
        " ({ id, impact, count: nodes.length, first: nodes[0].html.slice(0, 200),"
        "    why: nodes[0].failureSummary.slice(0, 300) }))"
    )
    browser.evaluate("delete window.axeFound")
    return [
        f"{one['id']} ({one['count']}): {one['first']}: {one['why']}"
        for one in found
        if one["impact"] in SERIOUS
    ]

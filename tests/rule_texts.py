"""The rules as they are written: name -> its file, and its text behind the name."""

import re

from support import ROOT

RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^rule |^use rule |\Z)", re.MULTILINE | re.DOTALL)
RULES = {
    name: (path, body)
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in RULE.findall(path.read_text())
}

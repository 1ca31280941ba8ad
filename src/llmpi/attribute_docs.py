"""What stands under the fields of a record's type, in its source."""

import ast
import inspect
import re
import sys
from functools import cache
from itertools import pairwise

from typing_extensions import get_original_bases, is_typeddict


def attribute_docs(kind: type) -> dict[str, str]:
    """Field -> its text, of a `TypedDict` and of its bases; no entry for one without."""
    found: dict[str, str] = {}
    for base in get_original_bases(kind):
        if isinstance(base, type) and is_typeddict(base):
            found |= attribute_docs(base)
    for field, below in pairwise(class_of(kind).body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                found[name] = re.sub(r"\s+", " ", text.strip())
    return found


def class_of(kind: type) -> ast.ClassDef:
    """A type as it is written."""
    return _classes(kind.__module__)[kind.__name__]


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

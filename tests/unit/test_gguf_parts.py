"""Files in parts, by their names."""

from pathlib import Path

import pytest

from llmpi.engine.shards import is_later, names, parts


def test_in_the_hubs_cache_the_links_have_the_names(tmp_path: Path) -> None:
    held = [tmp_path / f"m-0000{i}-of-00002.gguf" for i in (1, 2)]
    for link, blob in zip(held, ("ab", "cd"), strict=True):
        (tmp_path / blob).touch()
        link.symlink_to(blob)
    assert parts(held[0]) == held


def test_a_variant_is_a_link_to_the_first(tmp_path: Path) -> None:
    first = tmp_path / "m-00001-of-00002.gguf"
    first.touch()
    variant = tmp_path / "as-published.gguf"
    variant.symlink_to(first.name)
    assert [path.name for path in parts(variant)] == names(first.name)


@pytest.mark.parametrize("name", ["a-00002-of-00000.gguf", "m-00001-of-00000.gguf"])
def test_a_file_in_no_parts_is_one_file(name: str) -> None:
    assert names(name) == [name]
    assert not is_later(name)

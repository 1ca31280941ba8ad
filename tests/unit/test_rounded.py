"""Variants whose rounding is learned: their names, and what a study may ask for."""

import pytest
from pydantic import TypeAdapter, ValidationError

from llmpi.quant_types import (
    FTYPES,
    ROUNDABLE,
    is_rounded,
    is_trained,
    type_of,
    wants_imatrix,
    width_order,
)
from llmpi.study.fields import Quant

OF_QUANT: TypeAdapter[str] = TypeAdapter(Quant)
NAMES = [f"{kind}+round{end}" for kind in ROUNDABLE for end in ("", "+imatrix")]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_type_rounding_and_matrix(name: str) -> None:
    assert OF_QUANT.validate_python(name) == name
    assert is_rounded(name) and not is_trained(name)
    assert type_of(name) == name.partition("+")[0] in FTYPES
    assert wants_imatrix(name) is name.endswith("+imatrix")


def test_a_rounded_variant_stands_behind_the_plain_one_of_its_type() -> None:
    names = ["Q4_0", "Q4_0+imatrix", "Q4_0+round", "Q4_0+round+imatrix", "Q4_0-qat", "Q2_0"]
    assert sorted(set(names), key=width_order) == names


@pytest.mark.parametrize(
    "name",
    [
        *("Q4_0+imatrix+round", "Q4_0-qat+round", "Q4_0+round-qat", "Q4_0+round+round"),
        *("F16+round", "Q6_K+round", "IQ2_XXS+round+imatrix", "MIX-4bpw+round", "+round"),
    ],
)
def test_what_there_is_no_rounding_of_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        OF_QUANT.validate_python(name)


def test_a_published_file_is_what_it_is() -> None:
    assert not is_rounded("as-published.m-Q4_0+round")

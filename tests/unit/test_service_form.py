"""OpenAI's form of an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.service.form import Form
from llmpi.device.service.requests import Asked


@pytest.mark.parametrize("chat", [False, True])
@given(st.text(st.characters(exclude_categories=[]), min_size=1))
def test_the_part_of_a_token_is_what_json_writes(chat, text):
    form = Form(Asked({}, 3, chat, None, stream=True, tells_usage=False), 'a "model"')
    first, second = (json.loads(form.part(said, "", [])) for said in ("a", text))
    told = {"delta": {"content": text}} if chat else {"text": text}
    choice = {"index": 0, **told, "logprobs": None, "finish_reason": None}
    assert second == {**first, "choices": [choice]}
    assert form.part(text, "", []) == json.dumps(second)

"""The page about LoRA prints what it says."""

import re

import pytest
import torch

from tests.files import ROOT

pytestmark = pytest.mark.engines
pytest.importorskip("transformers")
pytest.importorskip("peft")


def test_code_of_the_page_prints_what_it_says(capsys):
    page = (ROOT / "docs" / "howto" / "lora.md").read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scope: dict[str, object] = {}
    try:
        for language, code in blocks:
            if language == "python":
                exec(code, scope)
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out == "".join(text for kind, text in blocks if kind == "text")

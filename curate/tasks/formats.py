"""The strings of the task formats, set here and nowhere else.

`{img}` is the image's path in its markers, `{language}` the language's English name, `{boxes}` the regions'
boxes one after another, `{grounded}` the text with its phrases marked and located, `{lines}` the regions'
texts, each with its quad; `{text}`, `{question}` and `{answer}` are columns.
"""

from __future__ import annotations

import string
from typing import NamedTuple


class Format(NamedTuple):
    """What the model reads and what it is trained to say; together they are the training string."""

    prompt: str
    target: str


FORMATS = {
    "caption": Format("{img}Generate the caption in {language}:", " {text}"),
    "vqa": Format("{img} {question} Answer:", " {answer}"),
    "ocr_vqa": Format("{img} {question} Answer:", " {answer}"),
    "grounded_caption": Format("{img}Generate the caption in {language} with grounding:", " {grounded}"),
    "referring": Format("{img}<ref>{text}</ref>", "{boxes}"),
    "region_caption": Format("{img}<ref>This</ref>{boxes} is", " {text}"),
    "ocr": Format("{img}OCR with grounding:", " {lines}"),
    "text": Format("", "{text}"),
}

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}

IMG = ("<img>", "</img>")
REF = ("<ref>", "</ref>")
BOX = ("<box>", "</box>")
QUAD = ("<quad>", "</quad>")

# Raw text that holds one of these could be read as structure, so its row is dropped: an escape would have to
# be undone by every reader of the training string, and such text is next to none. Later Qwens' `<|…|>` tokens
# count as well.
CONTROL_TOKEN = r"</?(?:img|ref|box|quad)>|<imgpad>|<\|[A-Za-z0-9_]+\|>"


def fields(template: str) -> set[str]:
    """The names in braces of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}

"""The strings of Qwen-VL's task formats; they stand in `dialects/qwen-vl.toml` and nowhere else.

`{img}` is the image in its markers, `{language}` the language's English name and `{code}` its code, `{boxes}` the
regions' boxes one after another, `{grounded}` the text with its phrases marked and located, `{entries}` each box
with its phrase, `{lines}` the regions' texts, each with its quad or box; `{text}`, `{question}` and `{answer}` are
columns.
"""

from __future__ import annotations

import string

from curate.tasks.dialect import Format, load

QWEN_VL = load("qwen-vl")
FORMATS: dict[str, Format] = QWEN_VL.tasks
CONVERSATION = "conversation"  # the task that is messages; a dialect's chat template writes it

LANGUAGE_NAMES = {
    "en": "English", "zh": "Chinese", "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "es": "Spanish", "et": "Estonian",
    "fa": "Persian", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
}  # fmt: skip

# Raw text that holds one of these could be read as structure, so its row is dropped: an escape would have to
# be undone by every reader of the training string, and such text is next to none. Later Qwens' `<|…|>` tokens
# count as well; a dialect adds its own (see `curate.tasks.row_faults.control_token`).
CONTROL_TOKEN = r"</?(?:img|ref|box|quad)>|<imgpad>|<\|[A-Za-z0-9_]+\|>"


def fields(template: str) -> set[str]:
    """The names in braces of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}

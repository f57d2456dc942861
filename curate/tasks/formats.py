"""The task formats of Qwen-VL, loaded from `dialects/qwen-vl.toml`, and the fields of all formats.

`{img}` is the image in its markers, `{language}` the language's English name, `{code}` its code, `{boxes}` the regions'
boxes one after another, `{grounded}` the text with its phrases in marks and their boxes behind them, `{entries}` each
box with its phrase, `{lines}` the regions' texts, each with its quad or box; `{text}`, `{question}` and `{answer}` are
columns.
"""

from __future__ import annotations

import string

from curate.tasks.dialect import Format, load

QWEN_VL = load("qwen-vl")
FORMATS: dict[str, Format] = QWEN_VL.tasks
CONVERSATION = "conversation"  # the task of dialogues, which the dialect's chat template writes

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

# Raw text with one of these could be mistaken for structure, so its row is dropped. It is not escaped, because every
# reader of the training string would have to undo that, and such texts are very rare. The `<|…|>` tokens of later
# Qwen models count too; a dialect adds its own (see `curate.tasks.row_faults.control_token`).
CONTROL_TOKEN = r"</?(?:img|ref|box|quad)>|<imgpad>|<\|[A-Za-z0-9_]+\|>"


def fields(template: str) -> set[str]:
    """The names of the fields (in braces) of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}

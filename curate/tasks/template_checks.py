"""Check the templates of a dialect before anything is written with them: their fields are known and properly closed."""

from __future__ import annotations

import string
from typing import Any

from curate.schema import TASKS

CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
TASK_FIELDS = (
    "img", "language", "code", "boxes", "grounded", "entries", "lines", "text", "question", "answer",
)  # fmt: skip
KNOWN = tuple(task for task in TASKS if task != "conversation")  # a dialogue is written by [chat]
NO_IMAGE = "text"  # the task without an image
PLACE_FIELDS = {  # by setting of [places]
    "box": CORNERS[:4],
    "quad": CORNERS,
    "point": CORNERS[:2],
    "entry": ("text", "label", "box"),
    "line": ("text", "label", "box", "quad"),
}


def check_tasks(tasks: dict[str, Any]) -> None:
    """Check the tables of `tasks`, each a table with the templates `prompt` and `target`.

    Raises:
        ValueError: a task that curate does not have, a template that is missing or has an unknown field, or a prompt
            that does not show its image exactly once.
    """
    for task, templates in tasks.items():
        if task not in KNOWN:
            raise ValueError(f"tasks has no task {task!r} (there are: {', '.join(KNOWN)})")
        for name in ("prompt", "target"):
            if name not in templates:
                raise ValueError(f"tasks.{task} has no {name!r}")
        prompt = _fields(f"tasks.{task}.prompt", templates["prompt"], TASK_FIELDS)
        _fields(f"tasks.{task}.target", templates["target"], TASK_FIELDS[1:])
        if prompt.count("img") != (task != NO_IMAGE):
            times = "no {img}: it has no image" if task == NO_IMAGE else "{img} once, where the image is"
            raise ValueError(f"tasks.{task}.prompt = {templates['prompt']!r} must have {times}")


def check_templates(dialect: Any) -> None:
    """Check the templates of a `Dialect` in [places], [image] and [chat].

    Raises:
        ValueError: a template has an unknown field, or one of [chat] lacks its `{content}`.
    """
    for name, known in PLACE_FIELDS.items():
        _fields(f"places.{name}", getattr(dialect.places, name), known)
    _fields("image.numbered", dialect.image.numbered, ("n",))
    for role in ("user", "assistant", "system"):
        template = getattr(dialect.chat, role)
        if template.count("{content}") != 1 and (template or role != "system"):
            raise ValueError(f"chat.{role} = {template!r} must have {{content}} once")


def _fields(setting: str, template: str, known: tuple[str, ...]) -> list[str]:
    """Return the fields of a template, each as often as it occurs.

    Raises:
        ValueError: it is malformed, or has a field that is none of `known`.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{setting} = {template!r}: {error} (a brace by itself is written twice)") from None
    for _, field, written, conversion in parts:
        if field is not None and (field not in known or written or conversion):
            raise ValueError(f"{setting} = {template!r} may have no field but {', '.join(known)}")
    return [field for _, field, _, _ in parts if field]

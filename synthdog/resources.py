"""Load what images are made from: faces, a corpus, pictures. It is read before the run, so that errors show early."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthdog import corpus, fonts, pictures
from synthdog.errors import ResourceError, SynthdogError
from synthdog.settings import TemplateSettings, load

BACKGROUND_CACHE = 40 << 20
PAPER_CACHE = 20 << 20
LEAST_COVERED = 0.5  # a face that covers a smaller share of the corpus's characters is not used


@dataclass(frozen=True)
class Resources:
    """Faces, text and pictures of one language."""

    faces: Sequence[fonts.Face]
    text: corpus.Text
    backgrounds: pictures.Gallery
    papers: pictures.Gallery

    @classmethod
    def load(cls, settings: TemplateSettings, language: str) -> Resources:
        """Load the faces, the corpus and the pictures that `settings` name, for one language.

        Raises:
            ResourceError: the first problem that `check` would list.
        """
        text = corpus.load(settings.document.content.text, language)
        return cls(
            _suited(fonts.faces(settings.document.content.font.paths, language), text),
            text,
            pictures.gallery(settings.background.image, "background", BACKGROUND_CACHE),
            pictures.gallery(settings.document.paper, "paper", PAPER_CACHE),
        )

    def record(self) -> dict[str, Any]:
        """What is used, for a run's manifest: fonts, the corpus's digest, sources of pictures."""
        return {
            "fonts": [
                {"name": face.name, "index": face.index, "bytes": face.bytes(), "sha256": face.sha256()}
                for face in self.faces
            ],
            "corpus": {
                "chars": len(self.text),
                "bytes": self.text.bytes(),
                "sha256": self.text.sha256(),
            },
            "backgrounds": _sources(self.backgrounds),
            "papers": _sources(self.papers),
        }


def check(settings: Mapping[str, Any] | TemplateSettings | None = None, language: str = "en") -> list[str]:
    """Every problem that would stop a run with these settings, one line each; empty where there is none."""
    try:
        known = load(settings, language)
    except SynthdogError as problem:
        return [str(problem)]
    parts: tuple[Callable[[], object], ...] = (
        lambda: fonts.faces(known.document.content.font.paths, language),
        lambda: corpus.load(known.document.content.text, language),
        lambda: pictures.gallery(known.background.image, "background", 0),
        lambda: pictures.gallery(known.document.paper, "paper", 0),
    )
    problems = [line for part in parts for line in _problem(part)]
    return problems or _problem(lambda: Resources.load(known, language))


def _problem(part: Callable[[], object]) -> list[str]:
    try:
        part()
    except ResourceError as problem:
        return [str(problem)]
    return []


def _suited(faces: Sequence[fonts.Face], text: corpus.Text) -> Sequence[fonts.Face]:
    """The faces that cover at least half of the corpus's characters; others could write hardly any text."""
    sample = "".join(text.sample())
    lacking = [len(face.lacks(sample)) for face in faces]
    suited = [
        face for face, lacks in zip(faces, lacking, strict=True) if lacks <= len(sample) * (1 - LEAST_COVERED)
    ]
    if not suited:
        raise ResourceError(
            f"no font covers half of the corpus's characters: the best of {len(faces)}, "
            f"{faces[lacking.index(min(lacking))].name!r}, lacks {min(lacking)} of {len(sample)}; "
            "set document.content.font.paths or .text.paths"
        )
    return suited


def _sources(gallery: pictures.Gallery) -> list[dict[str, Any]]:
    return [
        {
            "name": source.name,
            "pictures": len(source.names),
            "sha256_of_names": hashlib.sha256("\n".join(source.names).encode()).hexdigest(),
        }
        for source in gallery.sources
    ]

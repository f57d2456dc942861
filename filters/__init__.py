"""Rules and cleaners on Arrow columns. Importing the package registers them in RULES and CLEANERS."""

from filters import across, copies, grounding, html, language, near, pages, patterns, shape, text
from filters.column import PREFIX, SLUG, column_rule, find_rule, is_judgeable
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
    "across",
    "column_rule",
    "copies",
    "find_cleaner",
    "find_rule",
    "grounding",
    "html",
    "is_judgeable",
    "judge",
    "language",
    "near",
    "pages",
    "patterns",
    "shape",
    "text",
]

"""Rules and cleaners on Arrow columns. Importing the package registers them in RULES and CLEANERS."""

from filters import across, grounding, html, near, patterns, shape, text
from filters.judgement import Judgement, judge
from filters.rule import CLEANERS, RULES, Cleaner, Rule, Setting, find_cleaner, find_rule

__all__ = [
    "CLEANERS",
    "RULES",
    "Cleaner",
    "Judgement",
    "Rule",
    "Setting",
    "across",
    "find_cleaner",
    "find_rule",
    "grounding",
    "html",
    "judge",
    "near",
    "patterns",
    "shape",
    "text",
]

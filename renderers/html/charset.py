"""Decode the bytes of a web page as browsers do, except where the charset that it names does not fit its bytes.

The charset is, in this order: that of a byte order mark; UTF-16, where the pattern of zero bytes shows it; UTF-8, where
the bytes are UTF-8 beyond doubt; the one that the server or the page names, where the bytes fit it; a guess; the one
named.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from charset_normalizer import from_bytes

from renderers.html.markup import tags_named, without_comments, without_markup

HEAD = 8192  # bytes in which a page names its charset (the standard's 1,024 miss long comments and scripts)
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
MAX_FAULTS = 0.1  # share of a page's non-ASCII characters that a believed label may leave undecoded
CERTAIN = 3  # multi-byte sequences without a fault that make UTF-8 certain against a label
LONG_RUN = 2.0  # a text whose runs of non-ASCII bytes are this long on average is not in a Western charset

# https://encoding.spec.whatwg.org: what a label means to browsers is often a superset of what it says
MEANT = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "gb18030",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    # 16 bits a character would have shown by now; the page's own ASCII label refutes itself
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
SPELT = {
    "x-gbk": "gbk",
    "gb_2312-80": "gbk",
    "gb-2312": "gbk",
    "big-5": "big5",
    "x-x-big5": "big5",
    "cn-big5": "big5",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ks_c_5601-1987": "cp949",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "unicode": "utf-8",
    "utf8": "utf-8",
    "x-mac-cyrillic": "mac-cyrillic",
}
KNOWN = frozenset(
    [
        "utf-8",
        "gb18030",
        "big5hkscs",
        "cp932",
        "cp949",
        "cp874",
        "cp866",
        "euc_jp",
        "iso2022_jp",
        "koi8-r",
        "koi8-u",
    ]
    + ["mac-roman", "mac-cyrillic"]
    + [f"cp{page}" for page in range(1250, 1259)]
    + [f"iso8859-{part}" for part in range(2, 17)]
)
WESTERN = frozenset(["cp1252", "cp1250", "cp1254", "iso8859-2", "iso8859-15", "mac-roman"])
GUESSES = ["gb18030", "big5hkscs", "euc_jp", "cp932", "cp949", "cp1251", "koi8_r", "cp1253", "cp1256"]

# Possessive, so that each takes one pass: \s*["']?\s* over a run of spaces would take the square of its length.
DECLARED = re.compile(rb"\bcharset\s*+=\s*+[\"']?+\s*+([\w.:-]++)", re.IGNORECASE)
XML = re.compile(rb"\bencoding\s*+=\s*+[\"']([\w.:-]++)", re.IGNORECASE)
GUESSED = 1 << 18  # bytes that a guess looks at
HIGH = re.compile(rb"[\x80-\xff]+")

# cp1252, with its five undefined bytes as the control characters that browsers read them as
LATIN = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}


def decode(content: bytes, content_type: str | None = None) -> tuple[str, str]:
    """Decode a page; return its text and Python's name of its charset. Undecodable bytes become U+FFFD.

    `content_type` is the server's header, where there was one.
    """
    for mark, name in MARKS:
        if content.startswith(mark):
            return text_of(content[len(mark) :], name), name
    charset = wide(content) or choose(content, content_type)
    return text_of(content, charset), charset


def text_of(content: bytes, charset: str) -> str:
    """Decode bytes by a charset, and drop NUL characters."""
    text = (
        content.decode("latin-1").translate(LATIN)
        if charset == "cp1252"
        else content.decode(charset, "replace")
    )
    return text.replace("\0", "")


def wide(content: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark; null where it is none.

    Every other byte of its markup is zero, and almost none of those between.
    """
    head = content[:HEAD]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd < len(head) // 4 or 8 * min(even, odd) > max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def choose(content: bytes, content_type: str | None) -> str:
    """Choose the charset of a page whose markup is ASCII."""
    labels = list(dict.fromkeys(declared(content, content_type)))
    sequences = count_utf8(content)
    if sequences >= CERTAIN or (sequences and not set(labels) - {"utf-8"}):
        return "utf-8"
    runs = [len(run) for run in HIGH.findall(without_markup(content))]
    if not runs:
        return labels[0] if labels else "utf-8"
    western = sum(runs) / len(runs) < LONG_RUN
    for label in labels:
        if (western or label not in WESTERN) and faults(content, label) <= MAX_FAULTS:
            return label
    return guess(content, western) or (labels[0] if labels else "cp1252")


def declared(content: bytes, content_type: str | None) -> Iterator[str]:
    """Yield the charsets that the server and the page name, where Python knows them."""
    head = without_comments(content[:HEAD])
    found = [DECLARED.search((content_type or "").encode("ascii", "replace"))]
    if head.lstrip()[:5].lower() == b"<?xml":
        found.append(XML.search(head.partition(b">")[0]))
    found.append(next(filter(None, map(DECLARED.search, tags_named(head, b"meta"))), None))
    for match in found:
        if match is not None:
            name = match.group(1).decode("ascii", "replace")
            if known := lookup(name):
                yield known


def lookup(label: str) -> str | None:
    """Return Python's name of the charset that a label stands for on the web; null where it is none."""
    label = label.strip().lower()
    try:
        name = codecs.lookup(SPELT.get(label, label)).name
    except (LookupError, ValueError):
        return None
    name = MEANT.get(name, name)
    return name if name in KNOWN else None


def count_utf8(content: bytes) -> int:
    """Count the non-ASCII characters of UTF-8; 0 where the bytes have any fault but a cut last character."""
    try:
        text, _ = codecs.utf_8_decode(content, "strict", False)
    except UnicodeDecodeError:
        return 0
    return sum(map(len, re.findall("[^\x00-\x7f]+", text)))


def faults(content: bytes, charset: str) -> float:
    """Return the share of the non-ASCII characters that `charset` cannot decode."""
    foreign = "".join(re.findall("[^\x00-\x7f]+", text_of(content, charset)))
    return foreign.count("\N{REPLACEMENT CHARACTER}") / len(foreign) if foreign else 0.0


def guess(content: bytes, western: bool) -> str | None:
    """Guess the charset of bytes that are not UTF-8; null where none fits."""
    if western:
        return "cp1252"
    text = without_markup(content)[:GUESSED]
    best = from_bytes(text, cp_isolation=GUESSES).best()
    return None if best is None else lookup(best.encoding)

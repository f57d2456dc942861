"""The alphabet of codes that `filters.needs` uses, and estimates of how often a run of codes occurs in captions.

There are few codes: one stands for all bytes of a kind, in upper and lower case. EDGE stands for both ends of a text.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import prod

LETTERS = 40  # number of codes: three codes together give a number below 2 ** 16
RUN = 3
EDGE_BYTE = b"\xff"  # is in no UTF-8
_KINDS = (
    EDGE_BYTE, b" ", b"0123456789", bytes([*range(32), 127]), bytes([*range(0xE3, 0xEA), 0xEF]),
    bytes([*range(0x80, 0xE3), *range(0xEA, 0xEF), *range(0xF0, 0xFF)]), b".", b"-", b"_", b"|", b"\"'`", b"([{",
    b")]}", b",;", b"!?", b":/", b"#%&*+<=>@\\^~$", b"jqxz", *(bytes([one]) for one in b"abcdefghiklmnoprstuvwy"),
)  # fmt: skip
CODES = bytes(
    next(code for code, kind in enumerate(_KINDS) if bytes([byte]).lower() in kind or byte in kind)
    for byte in range(256)
)
EDGE, CJK, OTHER = (bytes([code]) for code in (0, 4, 5))  # leads of Chinese; all other bytes beyond ASCII
CHINESE, FOREIGN = CJK + 2 * OTHER, 2 * OTHER  # a character; runs of OTHER are cut to two
LED_BY_CJK = ((0x3000, 0x9FFF), (0xF000, 0xFFFF))  # code points
FOLDED = {0x17F: "s", 0x212A: "k"}  # the only ones beyond ASCII that are a letter of ASCII in the other case
SAMPLE = """\
Women's Leather Shoulder Bag with Zip Pocket, Brown - Size Large
Old stone bridge over the river in autumn, Bavaria, Germany Stock Photo
Set of 12 hand drawn watercolor flowers and leaves, vector illustration
Vintage 1950s Floral Print Summer Dress | The Red Door Shop
A man walking his dog on the beach at sunset
Modern kitchen with white cabinets and wooden table (photo 3)
Black Cotton T-Shirt for Men: Free Shipping on all orders over $50
2014 Ford Mustang GT Convertible for sale in Dallas, Texas
How to Make the Best Chocolate Cake - Easy Recipe Ideas for Kids
'Portrait of a Young Girl' by John Smith, oil on canvas, 24x36
Blue Ceramic Coffee Mug with Lid, 350ml, Dishwasher Safe
Map of the United States with state names and capitals
Samsung Galaxy S8 Case, Clear Silicone Cover with Ring Holder
St. Mary's Church, Main Street, as seen from the north in 1912
Christmas greeting card design with trees, snow & gold stars
Living room interior: gray sofa, round mirror and green plants
Happy Birthday cup cakes decorated with pink roses and silver pearls
The President speaks during a press conference in Washington D.C.
LED Desk Lamp w/ USB Charging Port and Touch Control, Black/White
View of New York City skyline from Central Park at night
Wedding invitation template, rustic style, printable PDF
Nike Air Max 90 Running Shoes Mens Trainers UK 9.5
Cute cartoon animals collection, royalty free image
Silver necklace with heart pendant, 925 sterling, gift box included
"""  # what captions look like: from it the shares of runs are estimated


def _shares() -> tuple[list[float], list[list[float]]]:
    """The share of each code in SAMPLE, and of each code after each other; codes that are not in it count as rare."""
    codes = SAMPLE.replace("\n", "\xff").encode("latin-1").translate(CODES)
    singles = [(codes.count(code) + 0.5) / len(codes) for code in range(LETTERS)]
    pairs = [[2 * share for share in singles] for _ in singles]
    for one, other in pairwise(codes):
        pairs[one][other] += 1
    return singles, [[count / sum(row) for count in row] for row in pairs]


SINGLES, PAIRS = _shares()


@lru_cache(maxsize=1 << 16)
def share_of(run: bytes) -> float:
    """The estimated share of positions in captions at which the run occurs."""
    return SINGLES[run[0]] * prod(PAIRS[one][other] for one, other in pairwise(run))

"""The irregular patterns of web captions, one entry each, in the order in which they are cleaned (paper A.1).

Found by reading the captions of LAION-400M, COYO, CC12M, CC3M, COCO and the Chinese sets; docs/rules.md shows
real rows before and after. Expressions are RE2; a text is one line by the time all but the first run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """A named irregularity and its removal."""

    name: str
    where: str  # RE2: the texts that the steps are made on
    steps: tuple[tuple[str, str], ...]  # RE2 and replacement, in order
    before: str  # an example
    after: str


SPACE = r"[\t-\r\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000} ]"
CONTROL = r"[\x00-\x08\x0E-\x1F\x7F-\x{84}\x{86}-\x{9F}\x{FFF9}-\x{FFFC}]"
INVISIBLE = (
    r"[\x{AD}\x{34F}\x{61C}\x{180E}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{FE0E}\x{FEFF}]"
)
DASH = r"(?:-{1,2}|[–—―])"
EXTENSION = r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|psd)"
CAMERA = (
    r"(?:_?IMG|IMGP|IMAG|DSC|DSCN|DSCF|_MG|PICT|DCIM|MVI|GOPR|SAM|CIMG|HPIM|PANO|PXL)[_-]?\d{3,8}(?:[_-]\d+)*"
)
LEAD = "full review at|more at|seen on|found on|at|from|on|via|by|see|visit"
URL = r"(?:(?:https?|ftp)://|www\.)[^\s<>\"|]+"
ENDING = r"\.(?:com|net|org|co\.uk|us|info|eu|biz)"
DOMAIN = rf"(?:[\w-]{{1,40}}\.)?[\w-]{{2,40}}{ENDING}"
# What the agencies call their goods, in the languages in which English captions carry it.
KIND = (
    r"(?:photo(?:s|graph|graphs|graphy)?|images?|pictures?|pics?|vectors?|illustrations?|illustratie|footage"
    r"|videos?|clips?|clip ?arts?|fotos?|fotograf\S*|graphics?|vektorgrafik)"
)
FREE = r"(?:(?:editorial|free|premium|royalty[ -]free|rights[ -]managed) )"
STOCK = (
    rf"(?:{FREE}*(?:stock|stok) (?:{KIND} )*{KIND}|{FREE}*stock[ -]?fotos?|{FREE}+{KIND}|{KIND} (?:de )?stock"
    r"|royalty[ -]free clip ?art|vettoriali stock|vector gratuit|kostenloses vector"
    r"|стоков\pL{1,4} \pL{4,12}|zdjęcie seryjne"
    r"|[\p{Han}\p{Katakana}]{0,4}(?:图库|圖庫|ストック)[\p{Han}\p{Katakana}]{0,6})"
)
AGENCY = (
    r"(?:shutterstock|i?stock ?photo|depositphotos|dreamstime|123rf|alamy|fotolia|bigstock(?:photo)?|adobe ?stock"
    r"|getty ?images|vectorstock|can ?stock ?photo|fotosearch|freepik|pond5|graphicriver|videohive|colourbox)"
)
CREDIT = "(?:ap |afp |reuters )?(?:photo|image|picture)"
CLICK = "to (?:see|view|enlarge|zoom)|on (?:the )?(?:image|photo)|for (?:larger|full)"
PICTURE = r"(?:photo|picture|image|foto|img|pic|thumbnail|screenshot|gallery image|gallery photo)"

CATALOGUE: tuple[Pattern, ...] = (
    Pattern(
        "spaces",
        r"[\t-\r]|  |^ | $|[^\x00-\x7F]",
        ((f"(?:{SPACE}|{CONTROL})+", " "), ("^ +| +$", "")),
        " A  cat\u00a0on\na mat ",
        "A cat on a mat",
    ),
    Pattern(
        "invisible",
        r"[\x00-\x08\x0E-\x1F\x7F]|[^\x00-\x7F]",
        ((f"{INVISIBLE}+", ""), (f"{CONTROL}+", " ")),
        "\u202aCastle in\u200b Zabkowice\u202c",
        "Castle in Zabkowice",
    ),
    Pattern(
        "mojibake",
        r"\x{FFFD}|â€|Â",
        (
            (r"(\pL)(?:\x{FFFD}|â€™)(s|t|re|ve|ll|d|m)\b", r"\1'\2"),
            ("â€™|â€˜", "'"),
            ("â€œ|â€\x9d|â€\ufffd", '"'),
            ("â€“|â€”", "–"),
            ("â€¦", "…"),
            ("â€¢", "•"),
            ("Â([ ©®°£«»·])", r"\1"),
            (r"(^| )\x{FFFD}+( |$)", r"\1\2"),
        ),
        "The Oklahoman\ufffds Player â€“ 5Â°",
        "The Oklahoman's Player – 5°",
    ),
    Pattern(
        "doubled_quotes",
        r"\"\"|``|''",
        (
            (r'^"((?:[^"]|"")*""(?:[^"]|"")*)"$', r"\1"),
            (r'""+', '"'),
            ("``|''", '"'),
        ),
        '"Danner 6"" Bull Run ""Cristy"" Brown"',
        'Danner 6" Bull Run "Cristy" Brown',
    ),
    Pattern(
        "boilerplate",
        r"(?i)^(?:load|google|image result|thumbnail|file:|name:|picture:|image:|photo:|main photo|rt @|buy |\(\d+k)"
        rf"|tags:|view on|\bclick |(?:thumbnail|{PICTURE})(?: #?\d+)?$",
        (
            (
                r"(?i)^(?:load image into gallery viewer,|google image result for|image result for)(?: +|$)",
                "",
            ),
            (r"(?i)^thumbnail(?: image)?(?: of| for)? +", ""),
            (r"(?i)^(?:file|name|picture|image|photo|main photo) ?: *", ""),
            (r"(?i)^rt @\w+: *", ""),
            (r"^\(\d+k, \d+x\d+\) *", ""),
            (r"(?i)^buy (.+?),? online at\b.*$", r"\1"),
            (r"(?i)(?: \([^()]{1,40}\))? tags: .*$", ""),
            (r"(?i)[ •|–-]+view on (?:flickr|instagram|pinterest|amazon|etsy)$", ""),
            (rf"(?i)[ *|–(-]*\bclick (?:here|{CLICK})\b.*$", ""),
            (rf"(?i) +{DASH} +{PICTURE}(?: #?\d+)?(?: of \d+)?$", ""),
            (rf"(?i) *[|] *{PICTURE}(?: #?\d+)?(?: of \d+)?$", ""),
            (r"(?i) thumbnail$", ""),
        ),
        "Load image into Gallery viewer, Storage Rack - photo 8",
        "Storage Rack",
    ),
    Pattern(
        "urls",
        rf"(?i)://|www\.|{ENDING}\b",
        (
            (rf"(?i)(?:[,;]? (?:{LEAD}))?[ :,]*\b{URL}$", ""),
            (rf"(?i)\b{URL}", ""),
            (rf"(?i) *(?:(?: {DASH}|[|]| at| via|^at|^via) +|\[){DOMAIN}\]?[!.]?$", ""),
        ),
        "Pink shoes, see www.grillo-designs.com",
        "Pink shoes",
    ),
    Pattern(
        "emails",
        r"@[\w-]+\.",
        ((r"(?i)(?:\be-?mail:? *)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+", ""),),
        "Call us or ann@example.com for a visit",
        "Call us or for a visit",
    ),
    Pattern(
        "file_names",
        rf"(?i){EXTENSION}\b|\b{CAMERA}|^\d{{2,4}}px-|%20",
        (
            (r"^\d{2,4}px-", ""),
            (r"([\pL,.)])%20", r"\1 "),
            (rf"(?i)\b{CAMERA}(?: ?\(\d+\))?(?:{EXTENSION}\b)?", ""),
            (rf"(?i)([\pL\d)_-]){EXTENSION}\b", r"\1"),
        ),
        "Sunset over Cappadocia IMG_0042.JPG",
        "Sunset over Cappadocia",
    ),
    Pattern(
        "slugs",
        r"^[\pL\d.,()']+(?:[_-]+[\pL\d.,()']+){3,}$|^[\pL\d-]+(?:_+[\pL\d-]+)+$",
        ((r"[_-]+", " "),),
        "March-2012-Page-of-the-Month",
        "March 2012 Page of the Month",
    ),
    Pattern(
        "stock_tails",
        rf"(?i)\bstock|\bstok|стоков|图库|圖庫|ストック|seryjne|royalty|vector|{AGENCY}|free {KIND}$",
        (
            (rf"(?i) (?:{FREE}*stock {KIND}) - (?:premium )?(?:royalty-free|rights-managed), artist:.*$", ""),
            (rf"(?i) stock {KIND} ?© ?\w+$", ""),
            (rf"(?i)(?: *{DASH}| *[|:])? {STOCK}(?: (?:&|and) {STOCK})?[-–— :#№]*\d*\.?$", ""),
            (rf"(?i) *(?:{DASH}|[|])(?: (?:free|vector))* vector(?: gratuit)?[ #]+\d+$", ""),
            (rf"(?i) *(?: {DASH} |[|] *|\bby |©){AGENCY}\b[^-|]{{0,30}}$", ""),
            (r"(?i) *\| *price: \d+ credits? \(usd \$\d+\)$", ""),
            (r"(?i)( vector(?: image)?)(?: vector(?: image)?)+$", r"\1"),
            (rf"(?i) (?:and|&) {FREE}*stock {KIND}$", ""),
        ),
        "Boy blowing out candles — Stock Photo #13233201",
        "Boy blowing out candles",
    ),
    Pattern(
        "stock_heads",
        rf"(?i)^{FREE}*(?:stock|royalty)|^(?:stock |clip ?art )?{KIND} of .* - jpg$",
        (
            (rf"(?i)^(?:stock )?(?:{KIND}|clip ?art) of [^-]{{1,40}} - (.+) - jpg$", r"\1"),
            (rf"(?i)^(?:{FREE}*stock (?:{KIND} )*{KIND}|royalty[ -]free (?:stock )?{KIND})(?: of|:) +", ""),
        ),
        "Royalty-Free Stock Photo: Sold Home For Sale Sign",
        "Sold Home For Sale Sign",
    ),
    Pattern(
        "photo_credits",
        rf"(?i)\({CREDIT}",
        (
            (
                r"(?i) *\((?:ap |afp |reuters )?(?:photo|image|picture)s?(?: credit| courtesy)?(?: by| of|:|/)[^()]*\)",
                "",
            ),
        ),
        "Fans at ANZ Stadium (Photo by Mark Kolbe/Getty Images)",
        "Fans at ANZ Stadium",
    ),
    Pattern(
        "copy_numbers",
        r"[\pL\d] ?(?:\(\d{1,2}\)|\[\d{1,2}\])$",
        ((r"([\pL\d]) ?(?:\(\d{1,2}\)|\[\d{1,2}\])$", r"\1"),),
        "laurel way house in beverly hills (9)",
        "laurel way house in beverly hills",
    ),
    Pattern(
        "repeated_punctuation",
        r"[!?]{2}|,,|;;|\.\.|-{3}|_{3}|\*\*|={3}|~~|##|\|\||\+{3}|/{3}|: :|\. \. |[！？。，、]{2}|…{2}|[•·]{2}",
        (
            ("!{2,}", "!"),
            (r"\?{2,}", "?"),
            (r"(?:!\?)(?:[!?])+", "!?"),
            (r"(?:\?!)(?:[!?])+", "?!"),
            (",{2,}", ","),
            (";{2,}", ";"),
            (r"([^.])\.\.(\pL)", r"\1. \2"),
            (r"(^|[^.])\.\.([^.]|$)", r"\1.\2"),
            (r"\.(?: \.){2,}|\.{4,}", "..."),
            ("-{3,}|_{3,}|={3,}|~{2,}|/{3,}", " "),
            (r"\*{2,}", "*"),
            ("#{2,}", "#"),
            (r"\|{2,}", "|"),
            (r"\+{3,}", "+"),
            ("！{2,}", "！"),
            ("？{2,}", "？"),
            ("。{2,}", "。"),
            ("，{2,}", "，"),
            ("、{2,}", "、"),
            ("…{2,}", "…"),
            ("[•·]{2,}", "•"),
        ),
        "Ready to ship!!! Ladies Vest L709----- (NEW)....",
        "Ready to ship! Ladies Vest L709 (NEW)...",
    ),
    Pattern(
        "tokenised_spaces",
        r" [.,;!?](?: |$)| '(?:s|d|m|re|ve|ll|t)\b|[£$€] \d",
        (
            (r"([^ ]) +([.,;!?])( |$)", r"\1\2\3"),
            (r"([\pL\d]) '(s|d|m|re|ve|ll|t)\b", r"\1'\2"),
            (r"([£$€]) (\d)", r"\1\2"),
        ),
        "here 's the view from the castle , of course !",
        "here's the view from the castle, of course!",
    ),
    Pattern(
        "dangling_brackets",
        r"[(（] *[)）]|\[ *\]|\{ *\}|【 *】|^[)\]}）】]|[(（\[{【][^)）\]}】]{0,16}$",
        (
            (r"[(（] *[)）]|\[ *\]|\{ *\}|【 *】", ""),
            (r"^[)\]}）】]+ *", ""),
            (r"([^:;=8'\- ]|[^:;=8'-] )[(（\[{【][^)）\]}】]{0,16}$", r"\1"),
        ),
        "Travel System ( ), Rectangle Magnet (100 p",
        "Travel System, Rectangle Magnet",
    ),
    Pattern(
        "list_marks",
        r"^[•·▪■●►▶»>*|.,;:–—-]+ |^\d{1,3}[.)] ",
        ((r"^(?:[•·▪■●►▶»>*|.,;:–—-]+ +)+", ""), (r"^\d{1,3}[.)] +(\pL)", r"\1")),
        "- 26. Claude Monet, Water Lilies",
        "Claude Monet, Water Lilies",
    ),
    Pattern(
        "trailing_junk",
        r"[ |,;:/\\_•·«»<~–—―，、；：*&=>#-]$",
        ((r"(?:[|,;:/\\_•·«~–—―，、；： -]| [»<>*&=#^+])+$", ""),),
        "Beatles 1CBK6-10B2 - |",
        "Beatles 1CBK6-10B2",
    ),
)

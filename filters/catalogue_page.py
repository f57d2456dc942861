"""What pages, viewers and shops put around a picture's text, in English.

Part of `filters.catalogue`; kept by itself as it grows with every site's habits.
"""

from __future__ import annotations

from filters.catalogue_stock import DASH
from filters.pattern import Pattern

NAMELESS = (
    r"(?:images?|photo|picture|pic|img|untitled|unnamed|download|screen ?shot|thumbnail|slide|wp|fb[ _]img)"
)
CLICK = (
    "to (?:see|view|enlarge|zoom|expand)|on (?:the )?(?:image|photo)|for (?:a )?(?:larger|bigger|full|more|details|hi)"
    "|(?:the )?(?:image|photo|picture|thumbnail) (?:to|for)"
)
CLICK_FIRST = (  # and then what the picture shows
    r"(?:click|tap|hover) (?:(?:here|on (?:the )?(?:image|photo)|(?:the )?(?:image|photo|picture)) )?(?:to|for)"
    r"(?: (?:enlarge|expand|zoom(?: in)?|(?:see|view)(?: (?:an? |the )?(?:larger|bigger|full)\b[^:,.!–—-]*)?)(?:[:,.!]|\b)"
    r"| [^:]{1,30}:)"
)
CLICK_ABOUT = (  # and then the item itself
    r"(?:please )?click(?: here| (?:on )?(?:the |this )?(?:image|photo|picture))?(?: to| for)? "
    r"(?:(?:(?:enlarge|view|see) )?(?:(?:an?|the) )?(?:(?:larger|bigger|full|full[- ]size|enlarged|more) )?(?:images?|photos?|pictures?|version|view)"
    r"(?: of| and (?:see|read|view|find|learn) more(?: (?:about|of|on)(?: item \w{1,20})?)?)"
    r"|(?:(?:more|further|full) )?(?:info(?:rmation)?|details)\b(?: (?:about|on|of|for))?"
    r"|enlarge (?:the |this )?(?:image|photo|picture)\b|(?:buy|order|purchase)\b)"
)
CLICK_FORUM = r"^click image for larger version[ .:]*name: *(.*?) *views: .*$"
VIEWER = (  # what a page says of its pictures
    r"(?:(?:view|see|show) (?:all )?(?:\d+ )?(?:more )?(?:photos|images|pictures)(?: \(\d+\))?"
    r"|(?:open|view) (?:the )?(?:image|photo|picture) in (?:a )?(?:new|full)[ -]?(?:window|tab|screen|size)"
    r"|(?:click|tap|hover|roll ?over|mouse ?over|pinch) (?:(?:on )?(?:the |this )?(?:image|photo|picture) )?"
    r"(?:to|for) (?:zoom|enlarge|expand|magnify)(?: in)?"
    r"|no (?:photo |image )?(?:description|caption|image|photo)(?: available)?\.?)"
)
OF_MANY = r"(?:\(\d{1,3} of \d{1,3}\)|, ?(?:image|photo|picture) \d{1,3}(?: of |/)\d{1,3})"
SITE = (
    r"(?:flickr(?: - photo sharing!?)?|wikipedia(?:, the free encyclopedia)?|wikimedia commons|youtube"
    r"|pinterest|ebay|etsy(?: [a-z]{2})?|amazon|tumblr|instagram|facebook|twitter|deviantart|behance|vimeo"
    r"|imdb|redbubble|zazzle)"
)
SHORTCODE = r"\[(?:caption|gallery|embed|video|audio)(?: [\w-]+=[^\[\]]*)?\]|\[/(?:caption|gallery|embed|video|audio)\]"
LINK = r"!?\[([^\[\]]+)\]\([^\s()]*[./][^\s()]*(?: \"[^\"()]*\")?\)"  # Markdown's
ZOOM = r"(?:tap|hover|roll|mouse ?over)(?: over| on)?(?: (?:the )?(?:image|photo|picture))? (?:to|for) (?:zoom|enlarge|magnify)(?: in)?\b"
LARGER = r"(?:view|open|show|see|enlarge) (?:the )?(?:full[ -]?size|larger|bigger) (?:image|photo|picture)(?: of| for)?\b"
COUNTED = r"(?:image|photo|picture|slide) #?\d{1,3} of \d{1,4}\b"
PICTURE = r"(?:photo|picture|image|foto|img|pic|thumbnail|screenshot|gallery image|gallery photo)"

CATALOGUE_PAGE: tuple[Pattern, ...] = (
    Pattern(
        "boilerplate",
        "Load image into Gallery viewer, Storage Rack - photo 8",
        "Storage Rack",
        (
            (
                r"(?i)^(?:load image into gallery viewer,|google image result for|image result for)(?: +|$)",
                "",
            ),
            (r"(?i)^thumbnail(?: image)?(?: of| for)? +", ""),
            (r"(?i)^(?:file|name|picture|image|photo|main photo|file photo) ?: *", ""),
            (r"(?i)^rt @\w+: *", ""),
            (r"^\(\d+k, \d+x\d+\) *", ""),
            (r"(?i)^(?:image|photo) may contain:? *", ""),
            (rf"(?i)^{VIEWER}$", ""),
            (r"(?i)^buy (.+?),? online at\b.*$", r"\1"),
            (r"(?i)^rating: \w+ score: -?\d+ tags: (.+?)(?: user: \S+)?$", r"\1"),
            (r"(?i)(?: \([^()]{1,40}\))? tags: .*$", ""),
            (r"(?i)[ •|–-]+view on (?:flickr|instagram|pinterest|amazon|etsy)$", ""),
            (rf"(?i) *(?: {DASH}|[|•·]) *{SITE}$", ""),
            (SHORTCODE, ""),
            (r" *\{\{[^{}]{0,200}\}\}", ""),
            (r"^Pin on +([A-Z])", r"\1"),  # a board; what is pinned on a jacket is not written like a title
            (r"(?i)^amazon\.(?:com|ca|in|de|fr|it|es|co\.uk|co\.jp|com\.au) ?: +", ""),
            (r"(?i)(?:^share|,)? on pinterest[.!]?$", ""),
            (LINK, r"\1"),
            (
                r"(?i)^[(\[](?:please )?click (?:here|to|on|for|image|photo|picture)\b[^()\[\]]{0,40}[)\]] *([^ ])",
                r"\1",
            ),
            (rf"(?i)^(?:{ZOOM}|{LARGER}|{COUNTED})[ :.,!–—-]*", ""),
            (rf"(?i){CLICK_FORUM}", r"\1"),
            (rf"(?i)^{CLICK_ABOUT} '(.+)'$", r"\1"),
            (rf"(?i)^(?:{CLICK_ABOUT}|{CLICK_FIRST})[ :.!,–—-]*", ""),
            (r"(?i) *\((?:image|photo|picture) ?\d{1,2}\)$", ""),
            (rf"(?i) *{OF_MANY}$", ""),
            (rf"(?i)[ *|–([-]*\bclick (?:here|{CLICK})\b.*$", ""),
            (
                r"(?i)(?:^| *[.…|–»([-] *)(?:view (?:larger|full[ -]?size)|read more)(?: image)?[ .…»)\]]*$",
                "",
            ),
            (rf"(?i)^{NAMELESS}[ #_-]*\d*(?: of \d+)?$", ""),
            (rf"(?i)(?: +{DASH} +| *[|] *){PICTURE}(?: #?\d+)?(?: of \d+)?$", ""),
            (r"(?i) (?:small )?(?:image|photo|screenshot) ?#?\d{1,2}$", ""),
            (r"(?i) thumbnail$", ""),
        ),
        within=rf"(?i) tags: |view on|\{{\{{|{SHORTCODE}|\]\(|\bclick (?:to|on|for|here|the|image|photo|picture|thumbnail)",
        start=(
            rf"(?i:{VIEWER}$|pin on |amazon\.[a-z.]{{2,6}} ?: |(?:image|photo) may contain|(?:tap|hover) |load image into|google image result|image result|thumbnail|rt @"
            rf"|(?:file|name|main photo|file photo) ?:|{ZOOM}|{LARGER}|{COUNTED}"
            rf"|(?:picture|image|photo) ?:|buy .* online at|\(\d+k, |{NAMELESS}[ #_-]*\d*(?: of \d+)?$)"
        ),
        end=(
            rf"(?i:(?:{DASH} +|[|] *){PICTURE}(?: #?\d+)?(?: of \d+)?| thumbnail"
            rf"| (?:image|photo|screenshot) ?#?\d{{1,2}}|{OF_MANY}|\((?:image|photo|picture) ?\d{{1,2}}\)|(?:{DASH}|[|•·]) *{SITE}"
            r"| on pinterest[.!]?|(?:view larger|full[ -]?size|read more)(?: image)?[ .…»)\]]*)"
        ),
    ),
)

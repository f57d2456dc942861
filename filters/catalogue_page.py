"""What pages, viewers and shops put around a picture's text, in English.

Part of `filters.catalogue`; kept by itself as it grows with every site's habits.
"""

from __future__ import annotations

from filters.catalogue_stock import DASH, NOBODY
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
SOCIAL = r"(?:facebook|twitter|instagram|pinterest|youtube|linkedin|tumblr|whatsapp)"
VIEWER = (  # what a page says of its pictures
    r"(?:(?:view|see|show) (?:all )?(?:\d+ )?(?:more )?(?:photos|images|pictures)(?: \(\d+\))?"
    r"|(?:open|view) (?:the )?(?:image|photo|picture) in (?:a )?(?:new|full)[ -]?(?:window|tab|screen|size)"
    r"|(?:click|tap|hover|roll ?over|mouse ?over|pinch) (?:(?:on )?(?:the |this )?(?:image|photo|picture) )?"
    r"(?:to|for) (?:zoom|enlarge|expand|magnify)(?: in)?"
    r"|no (?:photo |image )?(?:description|caption|image|photo)(?: available)?\.?"
    r"|(?:image|photo|picture)s? (?:is )?(?:not (?:available|found)|unavailable|coming soon|loading)[.!…]*"
    r"|(?:alt(?:ernative)? text|placeholder(?: image)?|(?:image )?loading(?: image)?) ?[.…]*"
    rf"|(?:share|follow us|like us|find us|visit us) on {SOCIAL}|(?:subscribe|sign up) (?:to|for) our newsletter"
    rf"|(?:photo|image|picture)s? ?: *{NOBODY}|advertisement|skip to (?:main )?content)"
)
HEAD_IMAGE = (  # what a page's picture is to the page, before what it is of
    r"(?:featured|cover|header|hero|banner|preview|lead|video|embedded) (?:image|photo|picture|thumbnail)(?: for| of|:) +"
)
NEW_WINDOW = r"opens (?:in|into) (?:a )?new (?:window|tab)"
GALLERY = r"(?:slide ?show|gallery|carousel) (?:image|photo|picture)"
PORTFOLIO = r"(?:flickr|500px|behance|deviantart|vimeo|dribbble|artstation)"
OF_MANY = r"(?:[(\[](?:(?:view|image|photo|picture|slide) )?\d{1,3} of \d{1,3}[)\]]| [|–—-] (?:page \d{1,3}|\d{1,3} of \d{1,3})|, ?(?:(?:image|photo|picture) \d{1,3}(?: of |/)|\d{1,3} of )\d{1,3})"
SITE = (
    r"(?:flickr(?: - photo sharing!?)?|wikipedia(?:, the free encyclopedia)?|wikimedia commons|youtube"
    r"|pinterest|ebay|etsy(?: [a-z]{2})?|amazon|tumblr|instagram|facebook|twitter|deviantart|behance|vimeo"
    r"|imdb|redbubble|zazzle|aliexpress|walmart|wayfair|poshmark|bbc (?:news|sport)|daily mail online|(?:the )?new york times"
    r"|national geographic|tripadvisor|linkedin|fine art america|goodreads|(?:shopee|lazada) [a-z]{2,12})"
)
SHORTCODE = r"\[(?:caption|gallery|embed|video|audio)(?: [\w-]+=[^\[\]]*)?\]|\[/(?:caption|gallery|embed|video|audio)\]"
LINK = r"!?\[([^\[\]]+)\]\([^\s()]*[./][^\s()]*(?: \"[^\"()]*\")?\)"  # Markdown's
ZOOM = r"(?:tap|hover|roll|mouse ?over)(?: over| on)?(?: (?:the )?(?:image|photo|picture))? (?:to|for) (?:zoom|enlarge|magnify)(?: in)?\b"
ENLARGE = r"(?:enlarge(?: (?:this |the )?(?:image|photo|picture))?(?: ?[/:|]| [–—-]) +|larger (?:image|photo|picture|view|version) of +)"
ATTRIBUTE = r"(?:alt|title|width|height|class|style|src|border|align)="
NOTHING = (  # words of a page's own picture, or of none
    r"(?:undefined|null|\[object object\]|lorem ipsum\b.*|(?:instagram|twitter|facebook) post (?:by|from) .*"
    r"|this image has an empty alt attribute.*|image with no alt text|spacer|blank|avatar|icon|separator|divider|bullet|1x1"
    r"|(?:default )?user (?:image|avatar|photo|icon)|profile (?:image|photo|pic(?:ture)?)|arrow (?:left|right|up|down)"
    r"|(?:(?:site|company|website|header|footer|main) )?logo(?: image)?"
    r"|(?:header|hero|banner|background|cover|featured?|main|(?:main )?product|post|article|blog|default) (?:image|photo|picture)(?: ?#?\d{1,3})?)"
)
LARGER = r"(?:view|open|show|see|enlarge) (?:the )?(?:full[ -]?size|larger|bigger) (?:image|photo|picture)(?: of| for)?\b"
COUNTED = r"(?:(?:image|photo|picture|slide) #?\d{1,3} of \d{1,4}\b(?: (?:for|of|from)\b)?|(?:image|photo|picture) \d{1,3} -)"
PICTURE = r"(?:photo|picture|image|foto|img|pic|thumbnail|screenshot|gallery image|gallery photo)"
SCREEN = (
    r"(?:640|720|800|900|1024|1080|1152|1200|1280|1366|1400|1440|1600|1680|1920|2048|2160|2560|2880|3000|3840|4096|5120|7680)"
    r" ?[x×] ?\d{3,4}"
)
OFFERED = r"[(\d]|(?i:new|hot|wholesale|retail|fashion|original|brand|top|high|spring|summer|autumn|winter|wo?men|girls?|boys?|baby) "

CATALOGUE_PAGE: tuple[Pattern, ...] = (
    Pattern(
        "boilerplate",
        "Load image into Gallery viewer, Storage Rack - photo 8",
        "Storage Rack",
        (
            (rf"(?i)^{VIEWER}$", ""),
            (rf"(?i)^{NOTHING}$", ""),
            (rf"(?i)^{ENLARGE}", ""),
            (r'(?i)^.{1,40} on twitter: "([^"]+)"?$', r"\1"),
            (r"(?i) *: amazon\.[a-z.]{2,6}(?: ?: .*)?$", ""),
            (rf"(?i)([.!?]) +(?:follow|like|find|join|visit) us on {SOCIAL}\b.{{0,40}}$", r"\1"),
            (rf"(?i)[ ,|–—-]+via @[\w.]+(?: on {PORTFOLIO})?[.!]?$", ""),
            (
                r"(?i)^(?:load image into gallery viewer,|google image result for|image result for)(?: +|$)",
                "",
            ),
            (r"(?i)^thumbnail(?: image)?(?: of| for)? +", ""),
            (rf'(?i)^{HEAD_IMAGE}"([^"]+)"$', r"\1"),
            (rf"(?i)^{HEAD_IMAGE}", ""),
            (rf"(?i)^{GALLERY} #?\d{{1,3}}[ :.–—-]+", ""),
            (r"(?i)^image is loading +", ""),
            (rf"(?i)^{NEW_WINDOW}[ :.,–—-]+|[ ,–—-]+\(?{NEW_WINDOW}\)?[.!]?$", ""),
            (rf"(?i) on {PORTFOLIO}[.!]?$", ""),
            (r"(?i)(?: \(@[\w.]+\))? • (?:instagram photos and videos|threads|facebook)$", ""),
            (r"(?i)^(?:file|name|picture|image|photo|main photo|file photo) ?: *", ""),
            (r"(?i)^rt @\w+: *", ""),
            (r"^\(\d+k, \d+x\d+\) *", ""),
            (r"(?i)^(?:image|photo) may contain:? *", ""),
            (r"(?i)^buy (.+?),? online at\b.*$", r"\1"),
            (r"(?i)^rating: \w+ score: -?\d+ tags: (.+?)(?: user: \S+)?$", r"\1"),
            (r"(?i)(?: \([^()]{1,40}\))? tags: .*$", ""),
            (r"(?i)[ •|–-]+view on (?:flickr|instagram|pinterest|amazon|etsy)$", ""),
            (rf"(?i) *(?: {DASH}|[|•·]) *{SITE}$", ""),
            (SHORTCODE, ""),
            (rf"(?i)^{ATTRIBUTE}[\"']([^\"']+)[\"']?(?: .*)?$", r"\1"),
            (rf"(?i)[\"']? +{ATTRIBUTE}(?:[\"'\d].*)?$", ""),
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
            (r"(?i) *\((?:image|photo|picture) ?#?\d{1,2}\)$", ""),
            (rf"(?i) *{OF_MANY}$", ""),
            (rf"(?i)[ *|–([-]*\bclick (?:here|{CLICK})\b.*$", ""),
            (
                r"(?i)(?:^| *[.…|–»([-] *)(?:view (?:larger|full[ -]?size)|(?:read|see|view|learn|show) more)(?: image)?[ .…»)\]]*$",
                "",
            ),
            (r"(?i) +(?:read|see|view|learn|show) more *(?:[»→…]|\.{3})+$", ""),
            (rf"(?i)^{NAMELESS}[ #_-]*\d*(?: of \d+)?$", ""),
            (rf"(?i)(?: +{DASH} +| *[|] *){PICTURE}(?: #?\d+)?(?: of \d+)?$", ""),
            (r"(?i) (?:small )?(?:image|photo|screenshot) ?#?\d{1,2}$", ""),
            (
                r"(?i)(?: [|–—-])? (?:(?:featured|thumbnail) image|thumbnail)$| [|–—-] cover image$|, (?:picture|photo|image)$",
                "",
            ),
        ),
        within=rf"(?i){ATTRIBUTE}| on twitter: |: amazon\.| us on {SOCIAL}| tags: |view on| via @|{NEW_WINDOW}|\{{\{{|{SHORTCODE}|\]\(|\bclick (?:to|on|for|here|the|image|photo|picture|thumbnail)",
        start=(
            rf"(?i:{VIEWER}$|{NOTHING}$|{ENLARGE}|pin on |amazon\.[a-z.]{{2,6}} ?: |(?:image|photo) may contain|(?:tap|hover) |load image into|google image result|image result|image is loading|{HEAD_IMAGE}|{GALLERY}|thumbnail|rt @"
            rf"|(?:file|name|main photo|file photo) ?:|{ZOOM}|{LARGER}|{COUNTED}"
            rf"|(?:picture|image|photo) ?:|buy .* online at|\(\d+k, |{NAMELESS}[ #_-]*\d*(?: of \d+)?$)"
        ),
        end=(
            rf"(?i:(?:{DASH} +|[|] *){PICTURE}(?: #?\d+)?(?: of \d+)?| thumbnail"
            rf"| (?:image|photo|screenshot) ?#?\d{{1,2}}|{OF_MANY}|\((?:image|photo|picture) ?#?\d{{1,2}}\)|(?:{DASH}|[|•·]) *{SITE}"
            rf"| on {PORTFOLIO}[.!]?| • [a-z ]+"
            r"| on pinterest[.!]?|(?:view larger|full[ -]?size|(?:read|see|view|learn|show) more)(?: image)?[ .…»→)\]]*"
            r"|(?:featured|cover|thumbnail) image|, (?:picture|photo|image))"
        ),
    ),
    Pattern(
        "shop_offers",
        "Free shipping! Silver pendant necklace – Shop now",
        "Silver pendant necklace",
        (
            (r"(?i)^free (?:worldwide )?shipping *[!.,:;_–—-]+ *([^ ])", r"\1"),
            (rf"^(?i:free shipping) +({OFFERED})", r"\1"),
            (
                r"(?i)(?:[ ,.;_|–—-]+(?:(?:with|and|plus|&|\+) )?| ?\()free (?:worldwide )?shipping(?: worldwide| & returns)?[!.)*]*"
                r"(?: ?\(china \(mainland\)\))?$",
                "",
            ),
            (r"(?i) ?\(china \(mainland\)\)$", ""),
            (r"(?i)(?: +[|–—-]+|[.!]) +(?:shop|buy|order) (?:it |yours )?now[!.]*$", ""),
            (r"(?i) for sale online(?: *[|–—-] *ebay)?$| on ebay$", ""),
            (
                r"(?i)(?: +[|–—-]+ +| *[(\[])(?:(?:currently )?out of stock|sold out|in stock|free delivery|buy online|(?:on )?sale|clearance)[!.)\]]*$",
                "",
            ),
        ),
        start=r"(?i:free (?:worldwide )?shipping)",
        end=r"(?i:shipping(?: worldwide| & returns)?[!.)*]*|\(china \(mainland\)\)| now[!.]*| for sale online| on ebay|(?:(?:of|in) stock|sold out|free delivery|buy online|sale|clearance)[!.)\]]*)",
    ),
    Pattern(
        "download_tails",
        "Pine trees by a lake, HD Png Download",
        "Pine trees by a lake",
        (
            (
                r"(?i)(?:[ ,|–—-]+(?:free|hd|transparent|png|svg|icon|clipart|vector))*[ ,|–—-]+(?:png|svg|icon|clipart|wallpapers?|vector)"
                r"[ ,–—-]+(?:free )?download(?:, png and vector)?(?: \(#\d+\))?$",
                "",
            ),
            (r"(?i)(?: icon)? +[–—-] +free download(?:, png and vector)?$", ""),
            (r"(?i)(?:, | - )(?:free )?transparent (?:png|clipart)(?: images?)?$", ""),
            (rf"(?i) *(?:\[\d{{3,5}} ?[x×] ?\d{{3,5}}(?: ?px)?\]|\({SCREEN} ?(?:px|pixels)\))$", ""),
            (r" *\[OC\]$", ""),  # a forum's original content
            (r"(?i)(?: (?:hd|4k|uhd))? wallpapers?(?: [|&]| and) background(?: image)?s?$", ""),
            (rf"(?i)\b(wallpapers?\b.*?)[ ,|–—-]+\(?{SCREEN}(?: ?(?:px|pixels))?\)?$", r"\1"),
        ),
        end=rf"(?i:download(?:, png and vector)?(?: \(#\d+\))?|transparent (?:png|clipart)(?: images?)?|{SCREEN}(?: ?(?:px|pixels))?[)\]]?|\d{{3,5}} ?[x×] ?\d{{3,5}}(?: ?px)?\]|\[oc\]| background(?: image)?s?)",
    ),
)

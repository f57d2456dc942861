"""The irregular patterns of web captions, one entry each, in the order in which they are cleaned (paper A.1).

Found by reading the captions of LAION-400M, COYO, CC12M, CC3M, COCO and the Chinese sets; docs/rules.md shows
real rows before and after. Expressions are RE2; a text is one line by the time all but the first run.
"""

from __future__ import annotations

from filters._ranges import PICTOGRAPHIC, SKIN_TONE
from filters.catalogue_zh import CATALOGUE_ZH, HAN
from filters.pattern import Pattern

LETTER = r"A-Za-z\x{A1}-\x{10FFFF}"  # near enough: RE2 takes 0.5 ms to compile a \pL, and units are small
ODD_SPACE = r"[\t-\r\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]"
CONTROL = r"[\x00-\x08\x0E-\x1F\x7F-\x{84}\x{86}-\x{9F}\x{FFF9}-\x{FFFC}]"
INVISIBLE = (
    r"[\x{AD}\x{34F}\x{61C}\x{180E}\x{200B}\x{200C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{FE00}-\x{FE0E}"
    r"\x{FEFF}\x{E0100}-\x{E01EF}]"  # variation selectors too, but not U+FE0F: it makes a sign an emoji
)
JOINER = r"\x{200D}"
JOINED = (
    rf"{PICTOGRAPHIC}{SKIN_TONE}\x{{FE0F}}"  # what it joins into one emoji, which text_has_emoji is to see
)
DASH = r"(?:-{1,2}|[–—―])"
EXTENSION = (
    r"\.(?:jpe?g|jfif|png|gif|webp|bmp|tiff?|psd|svg|heic|avif|nef|cr2|arw|dng|xcf|pdf|djvu|webm|ogv|mp4)"
)
QUERY = r"(?:\?[\w.%;&+-]+=[\w.%;&+=-]*)?"  # of the address that the name was taken from
CAMERA = (
    r"(?:(?:FB_)?(?:IMG|IMGP|IMAG|DSC|DSCN|DSCF|_MG|PICT|DCIM|MVI|GOPR|SAM|CIMG|HPIM|PANO|PXL)[_-]?\d{3,8}|P10\d{5})"
    r"(?:[_-](?:\d+|WA\d+|edit(?:ed)?|copy|small|web|crop(?:ped)?|resized?)\b)*"
)
NAMELESS = r"(?:image|photo|picture|pic|img|untitled|unnamed|download|screen ?shot|thumbnail|wp|fb[ _]img)"
MORE = "(?:(?:for )?(?:learn|read|find out) more|(?:for )?more info(?:rmation)?|available|shop now|order) (?:at|from|on)"
LEAD = rf"full review at|{MORE}|more at|seen on|found on|at|from|on|via|by|see|visit"
VISIT = r"(?:please )?visit (?:us at |our (?:web ?)?site:? )?"
PATH = r"(?:[^\s<>\"|()\[\]{}]|\([^\s()]*\))"  # not the bracket that an address stands in
URL = rf"(?:(?:https?|ftp)://|www\.){PATH}+"
ENDING = r"\.(?:com|net|org|co\.uk|us|info|eu|biz)"
DOMAIN = rf"(?:[\w-]{{1,40}}\.)?[\w-]{{2,40}}{ENDING}"
SHORTENED = r"(?:bit\.ly|t\.co|goo\.gl|ow\.ly|youtu\.be|fb\.me|buff\.ly|instagr\.am|amzn\.to|tmblr\.co)"
BARE_URL = rf"(?://)?(?:{DOMAIN}|\b{SHORTENED})/{PATH}*"  # without a scheme, but with a path
MAILBOX = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
# What the agencies call their goods, in the languages in which English captions carry it.
KIND = (
    r"(?:photos?|photograph(?:s|y)?|images?|pictures?|pics?|vectors?|illustrations?|footage|videos?|clips?"
    r"|clip ?arts?|fotos?|fotografie|graphics?|vektorgrafik)"
)
FREE = r"(?:(?:editorial|free|premium|royalty[ -]free|rights[ -]managed) )"
FOREIGN_STOCK = (
    rf"(?:stock-?foto\S{{0,8}}|{KIND} (?:de )?stock|stok foto\S{{0,8}}|vettoriali stock|zdjęcie seryjne"
    r"|stock illustratie|стоков\S{1,4} \S{4,12}|\S{0,12}(?:图库|圖庫|ストック)\S{0,18})"
)
# A tail of nothing but the word for a stock vector or photograph, as the agencies' other languages have it.
FOREIGN_TAIL = (
    r"(?:stock(?:vektor\w{0,4}|vector\w{0,6}|illustratie\w?|illustration\w{0,3}|video\w?|bild\w{0,3}|foto\w{0,7})|vecteurs?|vektor\w{0,4}"
    r"|image vectorielle|vecteurs? libres? de droits|clip ?art vectoriel|(?:vetor(?:es)?|vectores?|vector|fotos?|fotografías?|fotografias?|imágenes"
    r"|imagens|photos?|images?|vídeos?|vidéos?|illustrations?|ilustração|ilustración|ilustrações) (?:de )?(?:stock|archivo|banco de imagens?)"
    r"|archivo imágenes vectoriales|vettoriale? stock|foto stock|illustrazione stock|(?:zdjęcie|wektor|grafika|wideo) (?:stockow[eay]|wektorow[ea])"
    r"|stok (?:vektör|fotoğraf\w?|illüstrasyon)|arkiv(?:foto|bild)\w{0,4}|arkistokuva|stockov\w{1,3} \w{3,12}|стоков\S{1,4} \S{4,12}"
    r"|векторн\S{1,4} \S{4,12}|스톡 \S{2,4}|ベクターイラスト|ストック\S{2,8}|(?:lizenzfreie\w{0,2}|rechtenvrije|royaltyfri\w{0,2}|royalty[ -]free) [\w']{3,14}"
    r"|kaufen sie dieses \w{3,12}|(?:photos?|images?|illustrations?|vidéos?|imagen|imágenes|fotos?|ilustraci\w{2,4}) libres? de (?:droits|derechos))"
)
BEFORE = "(?: *[|:–—-]+)? +"  # what parts a caption from the agency's words
NUMBER = r"[ :#№–—-]*\d*\.?"
AGENCY = (
    r"(?:shutterstock|i?stock ?photo|depositphotos|dreamstime|123rf|alamy|fotolia|bigstock(?:photo)?"
    r"|istock|adobe ?stock|getty ?images|vectorstock|can ?stock ?photo|fotosearch|freepik|pond5|graphicriver"
    r"|videohive|colourbox)"
)
PRESS = "(?:ap |afp |reuters )?"
CREDIT = f"{PRESS}(?:photo(?:graph)?|image|picture)"
PERSON = r"(?:[A-Z\x{C0}-\x{DE}][^ .!?©]*[ .]*(?:(?:of|de|van|von|and|for|the|&|/) *)*){1,6}"  # names, none of them in lower case
WIRE = r"(?:REUTERS|Reuters|AFP|Getty Images|Associated Press)"
STOCK_SITE = r"(?i:unsplash|pexels|pixabay|giphy)"
NAMES = r"(?:[^ .!?]+[ .]*){1,7}"  # who is to be credited
CLICK = (
    "to (?:see|view|enlarge|zoom)|on (?:the )?(?:image|photo)|for (?:larger|full)"
    "|(?:the )?(?:image|photo|picture|thumbnail) (?:to|for)"
)
CLICK_FIRST = (  # and then what the picture shows
    r"click (?:(?:here|on (?:the )?(?:image|photo)|(?:the )?(?:image|photo|picture)) )?(?:to|for)"
    r"(?: (?:enlarge|zoom|(?:see|view)(?: (?:an? |the )?(?:larger|bigger|full)\b[^:,.!–—-]*)?)(?:[:,.!]|\b)"
    r"| [^:]{1,30}:)"
)
CLICK_ABOUT = (  # and then the item itself
    r"(?:please )?click(?: here| (?:on )?(?:the |this )?(?:image|photo|picture))?(?: to| for)? "
    r"(?:(?:(?:enlarge|view|see) )?(?:(?:an?|the) )?(?:(?:larger|bigger|full|full[- ]size|enlarged|more) )?(?:images?|photos?|pictures?|version|view)"
    r"(?: of| and (?:see|read|view|find|learn) more(?: (?:about|of|on)(?: item \w{1,20})?)?)"
    r"|(?:more|further|full) (?:info(?:rmation)?|details)\b(?: (?:about|on|of|for))?"
    r"|enlarge (?:the |this )?(?:image|photo|picture)\b|(?:buy|order|purchase)\b)"
)
CLICK_FORUM = r"^click image for larger version[ .:]*name: *(.*?) *views: .*$"
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

CATALOGUE: tuple[Pattern, ...] = (
    Pattern(
        "mojibake",
        "The Oklahoman\ufffds Player â€“ 5Â°",
        "The Oklahoman's Player – 5°",
        (
            ("ï¿½", "\ufffd"),
            (rf"([{LETTER}]{{3}})\x{{FFFD}}(s)\b|(n)\x{{FFFD}}(t)\b", r"\1\3'\2\4"),
            (r"(?i)\b(I|you|we|they|s?he|it|that|who|there)\x{FFFD}(s|d|m|re|ve|ll)\b", r"\1'\2"),
            ("â€™|â€˜", "'"),
            ("â€œ|â€\x9d|â€\ufffd", '"'),
            (r"â€( |$)", r'"\1'),
            ("â€“|â€”", "–"),
            ("â€¦", "…"),
            ("â€¢", "•"),
            ("Â([ ©®°£«»·])", r"\1"),
            (r"(^| )\x{FFFD}+( |$)", r"\1\2"),
        ),
        within=r"\x{FFFD}|â€|Â|ï¿½",
    ),
    Pattern(
        "spaces",
        " A  cat\u00a0on\na mat ",
        "A cat on a mat",
        (
            (f"(?:{ODD_SPACE}|{CONTROL})+", " "),
            (" {2,}", " "),
            ("^ | $", ""),
        ),
        within=rf"  |{ODD_SPACE}|{CONTROL}",
        start=" ",
        end=" ",
    ),
    Pattern(
        "invisible",
        "\u202aCastle in\u200b Zabkowice\u202c",
        "Castle in Zabkowice",
        (
            (f"{INVISIBLE}+", ""),
            (rf"(^|[^{JOINED}]){JOINER}+", r"\1"),
            (rf"{JOINER}+([^{JOINED}]|$)", r"\1"),
        ),
        within=f"{INVISIBLE}|{JOINER}",
    ),
    Pattern(
        "doubled_quotes",
        '"Danner 6"" Bull Run ""Cristy"" Brown"',
        'Danner 6" Bull Run "Cristy" Brown',
        (
            (r'^"((?:[^"]|"")*""(?:[^"]|"")*)"$', r"\1"),
            (r'""+', '"'),
            ("``|''", '"'),
        ),
        within="\"\"|``|''",
    ),
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
            (r"(?i)^buy (.+?),? online at\b.*$", r"\1"),
            (r"(?i)^rating: \w+ score: -?\d+ tags: (.+?)(?: user: \S+)?$", r"\1"),
            (r"(?i)(?: \([^()]{1,40}\))? tags: .*$", ""),
            (r"(?i)[ •|–-]+view on (?:flickr|instagram|pinterest|amazon|etsy)$", ""),
            (rf"(?i) *(?: {DASH}|[|•·]) *{SITE}$", ""),
            (SHORTCODE, ""),
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
        within=rf"(?i) tags: |view on|{SHORTCODE}|\]\(|\bclick (?:to|on|for|here|the|image|photo|picture|thumbnail)",
        start=(
            rf"(?i:load image into|google image result|image result|thumbnail|rt @|(?:file|name|main photo|file photo) ?:|{ZOOM}|{LARGER}|{COUNTED}"
            rf"|(?:picture|image|photo) ?:|buy .* online at|\(\d+k, |{NAMELESS}[ #_-]*\d*(?: of \d+)?$)"
        ),
        end=(
            rf"(?i:(?:{DASH} +|[|] *){PICTURE}(?: #?\d+)?(?: of \d+)?| thumbnail"
            rf"| (?:image|photo|screenshot) ?#?\d{{1,2}}|\((?:image|photo|picture) ?\d{{1,2}}\)|(?:{DASH}|[|•·]) *{SITE}"
            r"|(?:view larger|full[ -]?size|read more)(?: image)?[ .…»)\]]*)"
        ),
    ),
    Pattern(
        "urls",
        "Pink shoes, see www.grillo-designs.com",
        "Pink shoes",
        (
            (rf"(?i)^{URL}/([^/ ]+(?: [^/ ]+)+{EXTENSION})$", r"\1"),
            (
                rf"(?i)(?:(?:^|[,;]? ){VISIT}|(?:[,;]? |^)(?:{LEAD}))?[ :,]*\b{URL}(?:,? (?:or|and|&|/) (?:{URL}|{DOMAIN}))+$",
                "",
            ),
            (
                rf"(?i)(?:^|[,;]? )(?:{LEAD})[ :,]*\b{DOMAIN}(?:,? (?:or|and|&|/) (?:(?:at|on|from) )?{DOMAIN})+$",
                "",
            ),
            (
                rf"(?i)(?:^|([.!?]) +| +[|–—-] +){VISIT}(?:{URL}|{DOMAIN})(?:,? (?:for|to) (?:more|details|info|see|find|learn)\b.*)?[.!]?$",
                r"\1",
            ),
            (rf"(?i)(?:(?:^|[,;]? )(?:{LEAD}))?[ :,]*\b{URL}$", ""),
            (rf"(?i)([.!?]) +{DOMAIN}$", r"\1"),
            (rf"(?i)[(\[](?:(?:{LEAD})[: ]+)?(?:{URL}|{BARE_URL}|{DOMAIN}/?)[)\]]", ""),
            (rf"(?i)\b{URL}|{BARE_URL}", ""),
            (rf"(?i)(?:^| *(?: {DASH}|[|]| at| via|^at|^via|(?:^| ){MORE}) +){DOMAIN}[!.]?$", ""),
        ),
        within=rf"(?i)://|www\.|{ENDING}\b|\b{SHORTENED}/",
    ),
    Pattern(
        "emails",
        "Call us or ann@example.com for a visit",
        "Call us or for a visit",
        (
            (rf"(?i)<{MAILBOX}>", ""),
            (rf"(?i)(?:\be-?mail:? *|mailto:)?{MAILBOX}", ""),
        ),
        within="@",
    ),
    Pattern(
        "file_names",
        "Sunset over Cappadocia IMG_0042.JPG",
        "Sunset over Cappadocia",
        (
            (r"^\d{2,4}px-", ""),
            (rf"([{LETTER},.)])%20", r"\1 "),
            (rf"(?i)(?:\b|_){CAMERA}(?: ?\(\d+\))?(?:{EXTENSION}\b)?", ""),
            (rf"(?i)^(?:{NAMELESS}[\d_. ()-]*|[\d_. -]+|[\da-f-]{{12,}}){EXTENSION}$", ""),
            (rf"(?i)([{LETTER}\d])[_-]\d{{2,4}}x\d{{2,4}}{EXTENSION}\b{QUERY}", r"\1"),
            (rf"(?i)([{LETTER}\d)_-]){EXTENSION}\b{QUERY}", r"\1"),
        ),
        within=rf"(?i){EXTENSION}\b|(?:\b|_){CAMERA}|%20",
        start=r"\d{2,4}px-",
    ),
    *CATALOGUE_ZH,
    Pattern(
        "slugs",
        "March-2012-Page-of-the-Month",
        "March 2012 Page of the Month",
        ((r"[_-]+", " "),),
        start=rf"[{LETTER}\d.,()']+(?:[_-]+[{LETTER}\d.,()']+){{3,}}$|[{LETTER}\d-]+(?:_+[{LETTER}\d-]+)+$",
    ),
    Pattern(
        "underscores",
        "Sri Narayan Singh College Motihari_Campus-View",
        "Sri Narayan Singh College Motihari Campus-View",
        (
            (rf"((?:^|[ (\[,;:/\"'])[{LETTER}\d][{LETTER}\d.,'()-]*)_+([{LETTER}\d])", r"\1 \2"),
        ),  # not in @some_user nor in #a_tag
        within=rf"[{LETTER}\d.,'()-]_+[{LETTER}\d]",
        again=True,
    ),
    Pattern(
        "stock_tails",
        "Boy blowing out candles — Stock Photo #13233201",
        "Boy blowing out candles",
        (
            (rf"(?i) {FREE}*stock {KIND} - (?:premium )?(?:royalty-free|rights-managed), artist:.*$", ""),
            (rf"(?i) stock {KIND} ?© ?\w+$", ""),
            (rf"(?i){BEFORE}{FREE}*stock(?: (?:{KIND}|&|and|royalty-free))+{NUMBER}$", ""),
            (rf"(?i){BEFORE}{FREE}+(?:stock )?(?:{KIND}|clip ?art){NUMBER}$", ""),
            (rf"(?i){BEFORE}{FOREIGN_STOCK}{NUMBER}$", ""),
            (rf"(?i) +[|–—-] +{FOREIGN_TAIL}{NUMBER}$", ""),
            (r"(?i) +[|–—-](?: free| kostenloses)? vector(?: gratuit)?[ #]+\d+$", ""),
            (rf"(?i) *(?: {DASH} |[|] *|\bby |©){AGENCY}\b[^-|]{{0,30}}$", ""),
            (rf"(?i) +(?:(?:{CREDIT}s?:|via|from|by|on|at) +|/ *)?{AGENCY}(?:\.com)?\.?$", ""),
            (rf"(?i) *[(\[]{AGENCY}[)\]]\.?$", ""),
            (r"(?i) *\| *price: \d+ credits? \(usd \$\d+\)$", ""),
            (r"(?i)( vector(?: image)?)(?: vector(?: image)?)+$", r"\1"),
        ),
        within=(
            rf"(?i), artist:|\| *price:|{AGENCY}|[|–—-] +(?:lizenzfrei|rechtenvrij|royaltyfri|kaufen)| libres? de d"
            r"| [|–—-] +(?:stock[a-z]|stok |ve[ck]t|vettoria|vetor|fotos? |fotograf|photos? de|images? (?:de|vec)|im[aá]ge|v[ií]d[eé]os? de|illustra|ilustra"
            r"|archivo|arkiv|arkisto|wektor|grafika|zdj|wideo|clip ?art vec|стоков|векторн|스톡|ベクター|ストック)"
            r"|stock-?foto|stok foto|vettoriali stock|seryjne|stock illustratie|стоков|图库|圖庫|ストック"
        ),
        end=(
            rf"(?i: stock {KIND} ?© ?\w+| stock(?: (?:{KIND}|&|and|royalty-free))+{NUMBER}"
            rf"|{FREE}(?:{KIND}|clip ?art){NUMBER}|{FREE}stock (?:{KIND}|clip ?art){NUMBER}"
            rf"|{KIND} (?:de )?stock{NUMBER}"
            rf"| vector(?: gratuit)?[ #]+\d+| vector(?: image)? vector(?: image)?)"
        ),
    ),
    Pattern(
        "stock_heads",
        "Royalty-Free Stock Photo: Sold Home For Sale Sign",
        "Sold Home For Sale Sign",
        (
            (rf"(?i)^(?:stock )?(?:{KIND}|clip ?art) of [^-]{{1,40}} - (.+) - jpg$", r"\1"),
            (rf"(?i)^(?:{FREE}*stock (?:{KIND} )*{KIND}|royalty[ -]free {KIND})(?: of|:) +", ""),
        ),
        start=rf"(?i:{FREE}*stock|royalty)",
        end="(?i: - jpg)",
    ),
    Pattern(
        "photo_credits",
        "Fans at ANZ Stadium (Photo by Mark Kolbe/Getty Images)",
        "Fans at ANZ Stadium",
        (
            (rf"^(?i:{CREDIT}s? by) {PERSON}(?:(?:on|from|via) {STOCK_SITE})?(?:: +|$)", ""),
            (rf"(?i)[ ,]+(?:via|from|on) {STOCK_SITE}$", ""),
            (rf"(?:^|([.!?]) +){WIRE} ?/ ?{PERSON}$", r"\1"),
            (rf"(?:^|([.!?]) +| *[(\[])(?i:(?:image|photo|picture)? ?sources?): {PERSON}[)\]]?$", r"\1"),
            (r"[ ,|–—-]*[(\[]?\bCC[ -]BY(?:-[A-Z]{2}){0,2}(?: \d\.\d)?[)\]]?$", ""),
            (rf"(?i) *\({CREDIT}s?(?: credit| courtesy)?(?: by| of|:|/)[^()]*\)", ""),
            (r"(?i) *\((?:mandatory )?(?:credit|courtesy)s?(?: of|:)[^()]*\)", ""),
            (rf" *\((?:{WIRE}(?: ?/[^()]+)?|[^()/]+/ ?(?:{WIRE}|AP|EPA|PA))\)$", ""),
            (rf"(?i)[ ,;:|/–—-]*(?:mandatory |{CREDIT} )credits?:? {NAMES}$", ""),
            (
                rf"(?i)(?:([.!?])[ |/–—-]*|[,;|–—-] *)(?:{CREDIT}s?(?: by:?| courtesy(?: of)?:?)|{PRESS}photo(?:graph)?s?:) {NAMES}$",
                r"\1",
            ),
            (rf"(?i)([.!?]) +{CREDIT}s?:[ #*]*$", r"\1"),
            (rf"(?:([.!?])[ |/–—-]*|[,;|–—-] *)(?i:{PRESS}(?:image|picture)s?:) {PERSON}$", r"\1"),
            (rf"(?:([.!?])[ |/–—-]*|[ ,;|/–—-]+)(?i:{CREDIT}s? ?)?© ?{PERSON}(?:(?:19|20)\d\d)?$", r"\1"),
            (r"(?i)[ ,.;|/–—-]*(?:copyright ?)?© ?(?:copyright )?(?:19|20)\d\d\b[^©]{0,50}$", ""),
            (r"(?i)[ ,;|/–—-]*\ball rights reserved\.?$", ""),
        ),
        within=(
            rf"(?i)\({CREDIT}|credit|courtesy|{CREDIT}s?(?: by|:)|© ?(?:19|20|copyright)|© ?[A-Z\x{{C0}}-\x{{DE}}]"
            rf"|all rights|\({WIRE} ?/|{WIRE} ?/|source|\b(?:on|from|via) {STOCK_SITE}|^{CREDIT}s? by\b|\bCC[ -]BY"
        ),
        end=rf"\({WIRE}\)|/ ?(?:{WIRE}|AP|EPA|PA)\)",
    ),
    Pattern(
        "copy_numbers",
        "laurel way house in beverly hills (9)",
        "laurel way house in beverly hills",
        ((rf"([{LETTER}\d]) ?(?:\(\d{{1,2}}\)|\[\d{{1,2}}\])$", r"\1"),),
        end=r"\(\d{1,2}\)|\[\d{1,2}\]",
    ),
    Pattern(
        "repeated_punctuation",
        "Ready to ship!!! Ladies Vest L709----- (NEW)....",
        "Ready to ship! Ladies Vest L709 (NEW)...",
        (
            ("!{2,}", "!"),
            (r"\?{2,}", "?"),
            (r"!\?[!?]+", "!?"),
            (r"\?![!?]+", "?!"),
            (",{2,}", ","),
            (";{2,}", ";"),
            (rf"([^.])\.\.([{LETTER}])", r"\1. \2"),
            (r"(^|[^.])\.\.([^.]|$)", r"\1.\2"),
            (r"\.(?: \.){2,}|\.{4,}", "..."),
            (rf"(^|[^{HAN}-])-{{3,}}", r"\1 "),
            (rf"-{{3,}}([^{HAN}-]|$)", r" \1"),  # between two Chinese characters it is a dash
            ("_{3,}|={3,}|~{2,}|/{3,}", " "),
            (r"\*{2,}", "*"),
            ("#{2,}", "#"),
            (":{3,}", ":"),
            ("<{3,}", "<"),
            (">{3,}", ">"),
            (r"\|{2,}", "|"),
            (r"(^|[^Aa+])\+{3,}", r"\1+"),  # PA+++ tells how a cosmetic protects from the sun
            ("！{2,}", "！"),
            ("？{2,}", "？"),
            ("。{2,}", "。"),
            ("，{2,}", "，"),
            ("、{2,}", "、"),
            ("…{2,}", "…"),
            ("[•·]{2,}", "•"),
        ),
        within=(
            r"[!?]{2}|,,|;;|\.\.|--|__|\*\*|==|~~|##|\|\||\+\+|//|:::|<<<|>>>|\. \."
            r"|[！？。，、]{2}|……|[•·]{2}"
        ),
    ),
    Pattern(
        "tokenised_spaces",
        "here 's the view from the castle , of course !",
        "here's the view from the castle, of course!",
        (
            (r"(\d) , (\d{3}(?: |$))", r"\1,\2"),
            (r"(\d) \. (\d)", r"\1.\2"),
            (r"([^ ]) +([.,;!?])( |$)", r"\1\2\3"),
            (rf"([{LETTER}\d]) (['’])(s|d|m|re|ve|ll|t)\b", r"\1\2\3"),
            (rf"([{LETTER}]) (['’]) s\b", r"\1\2s"),
            (r'^((?:[^"]* )?)" ([^"]*[^" ]) "((?:[ .,;!?][^"]*)?)$', r'\1"\2"\3'),
            (
                r"(?i)\b(do|does|did|is|are|was|were|has|have|had|would|could|should|must|need|ca|wo) n't\b",
                r"\1n't",
            ),
            (r"([a-z]) : ", r"\1: "),
            (r"(\d) %( |[.,;!?]|$)", r"\1%\2"),
            (r"([£$€]) (\d)", r"\1\2"),
        ),
        within=r" [.,;!?] | ['’] ?(?:s|d|m|re|ve|ll|t)\b| n't\b|[£$€] \d|[a-z] : |\d %|(?:^| )\" [^\"]+ \"",
        end=" [.,;!?]",
    ),
    Pattern(
        "dangling_brackets",
        "Travel System ( ), Rectangle Magnet (100 p",
        "Travel System, Rectangle Magnet",
        (
            (r"[(（] *[)）]|\[ *\]|\{ *\}|【 *】|< *>", ""),
            (r"^[)\]}）】]+ *", ""),
            (r"([^:;=8'\- ]|[^:;=8'-] )[(（\[{【][^)）\]}】]{0,16}$", r"\1"),
            (r"^[(（\[{【]([^()（）\[\]{}【】]*)$", r"\1"),
            (rf"^([^()（）\[\]{{}}【】]*[{LETTER}\d.!?]{{2}}) ?[)）\]}}】]$", r"\1"),
            (r"^((?:[^\[\]{}]|\[[^\[\]{}]*\])*[)]) ?[\]}]$", r"\1"),
            (r'^"([^"“”]*)$', r"\1"),
            (r'^“([^"“”]*)$', r"\1"),
            (rf'^([^"“”]*[{LETTER}.,!?])["”]$', r"\1"),
        ),
        within=r"[(（] *[)）]|\[ *\]|\{ *\}|【 *】|< *>",
        start=r"[)\]}）】]|[(（\[{【][^()（）\[\]{}【】]*$|[\"“][^\"“”]*$",
        end=(
            r"[(（\[{【][^)）\]}】]{0,16}|^[^()（）\[\]{}【】]*[)）\]}】]"
            r"|^(?:[^\[\]{}]|\[[^\[\]{}]*\])*[)] ?[\]}]|^[^\"“”]*[\"”]"
        ),
    ),
    Pattern(
        "list_marks",
        "- 26. Claude Monet, Water Lilies",
        "Claude Monet, Water Lilies",
        ((r"^(?:[•·▪■●►▶»>*|.,;:–—-]+ +)+", ""), (rf"^\d{{1,3}}[.)] +([{LETTER}])", r"\1")),
        start=r"[•·▪■●►▶»>*|.,;:–—-]+ |\d{1,3}[.)] ",
    ),
    Pattern(
        "trailing_junk",
        "Beatles 1CBK6-10B2 - |",
        "Beatles 1CBK6-10B2",
        ((r"(?:[|,;:/\\_•·«~–—―，、；： -]| [»<>*&=#^+])+$", ""),),
        end=r"[ |,;:/\\_•·«»<~–—―，、；：*&=>#^+-]",
    ),
)

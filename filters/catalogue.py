"""The irregular patterns of web captions, one entry each, in the order in which they are cleaned (paper A.1).

Found by reading the captions of LAION-400M, COYO, CC12M, CC3M, COCO and the Chinese sets; docs/rules.md shows
real rows before and after. Expressions are RE2; a text is one line by the time all but the first run.
"""

from __future__ import annotations

from filters._ranges import PICTOGRAPHIC, SKIN_TONE
from filters.catalogue_foreign import CATALOGUE_FOREIGN, FOREIGN_CREDITS
from filters.catalogue_page import CATALOGUE_PAGE, NAMELESS
from filters.catalogue_stock import CATALOGUE_STOCK, CREDIT, DASH, KIND, NOBODY, PRESS
from filters.catalogue_zh import CATALOGUE_ZH, HAN
from filters.pattern import Pattern

LETTER = r"A-Za-z\x{A1}-\x{10FFFF}"  # near enough: RE2 takes 0.5 ms to compile a \pL, and units are small
ALPHABETIC = r"A-Za-z\x{A1}-\x{2E7F}"  # letters of scripts that part words by spaces
ODD_SPACE = r"[\t-\r\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]"
CONTROL = r"[\x00-\x08\x0E-\x1F\x7F-\x{84}\x{86}-\x{9F}\x{FFF9}-\x{FFFC}]"
INVISIBLE = (
    r"[\x{AD}\x{34F}\x{61C}\x{180E}\x{200B}\x{200C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{FE00}-\x{FE0E}"
    r"\x{FEFF}\x{E0100}-\x{E01EF}]"  # variation selectors too, but not U+FE0F: it makes a sign an emoji
)
JOINER = r"\x{200D}"
# What it joins into one emoji, which text_has_emoji is to see
JOINED = rf"{PICTOGRAPHIC}{SKIN_TONE}\x{{FE0F}}"
EXTENSION = (
    r"\.(?:jpe?g|jfif|png|gif|webp|bmp|tiff?|psd|svg|heic|avif|nef|cr2|arw|dng|xcf|pdf|djvu|webm|ogv|mp4)"
)
QUERY = r"(?:\?[\w.%;&+-]+=[\w.%;&+=-]*)?"  # of the address that the name was taken from
CAMERA = (
    r"(?:(?:FB_)?(?:IMG|IMGP|IMAG|DSC|DSCN|DSCF|_MG|PICT|DCIM|MVI|GOPR|SAM|CIMG|HPIM|PANO|PXL)[_-]?\d{3,8}|P10\d{5})"
    r"(?:[_-](?:\d+|WA\d+|edit(?:ed)?|copy|small|web|crop(?:ped)?|resized?)\b)*"
)
SHOT = (  # a messenger's or a screen's picture, told by its time
    r"(?:whatsapp (?:image|video)|screen ?shot|bildschirmfoto|captura de pantalla)[ _-]*\d{4}[\d _.:-]*"
    r"(?:(?:at|um|a las) [\d.:]+)?(?: ?[ap]m)?(?:_[A-Za-z][A-Za-z ]{1,20})?(?: ?\(\d+\))?"
)
TAKEN = (  # a telephone's picture, told by its time, and names that messengers and free agencies give
    r"(?:(?:19|20)\d{6}[_-]\d{4,9}(?:[_-]\d{1,4})?|(?:mmexport|wx_camera_|received_|mvimg_|beauty_)\d{8,17}(?:_\d{6})?"
    r"|photo-\d{10,13}-[\da-f]{12}|tumblr_[a-z\d]{15,30}(?:_\d{3,4})?|pexels-(?:[a-z]+-){1,4}\d{4,})(?: ?\(\d+\))?"
)
UNSPLASHED = r"[a-z]+(?:-[a-z]+){0,3}-[\w-]{11}-unsplash"
UUID = r"[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}"
AGENCY_NAME = (  # an agency's file
    r"(?:i-?stock(?:photo)?|shutterstock|gettyimages|adobestock|depositphotos|dreamstime|alamy|fotolia|123rf|bigstock)"
    r"[ _-]{1,3}\d{4,}(?:[_-](?:xxl|xl|x?large|l|medium|m|small|s|web|edit|\d+x\d+))*"
)
MORE = "(?:(?:for )?(?:learn|read|find out) more|(?:for )?more info(?:rmation)?|available|shop now|order) (?:at|from|on)"
LEAD = rf"full review at|{MORE}|more at|seen on|found on|at|from|on|via|by|see|visit"
VISIT = r"(?:please )?visit (?:us at |our (?:web ?)?site:? (?:at )?)?"
PATH = r"(?:[^\s<>\"|()\[\]{}]|\([^\s()]*\))"  # not the bracket that an address stands in
URL = rf"(?:(?:https?|ftp)://|www\.){PATH}+"
ENDING = r"\.(?:com|net|org|co\.uk|us|info|eu|biz|de|fr|ca|nl|es|pl|ch|io|tv|ru|cn|com\.(?:au|cn|br)|co\.(?:nz|za)|shop|store)"
DOMAIN = rf"(?:[\w-]{{1,40}}\.)?[\w-]{{2,40}}{ENDING}"
SHORTENED = r"(?:bit\.ly|t\.co|goo\.gl|ow\.ly|youtu\.be|fb\.me|buff\.ly|instagr\.am|amzn\.to|tmblr\.co)"
BARE_URL = rf"(?://)?(?:{DOMAIN}|\b{SHORTENED})/{PATH}*"  # without a scheme, but with a path
MAILBOX = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
PERSON = r"(?:[A-Z\x{C0}-\x{DE}][^ .!?©]*[ .]*(?:(?:of|de|van|von|and|for|the|&|/) *)*){1,6}"  # names, none of them in lower case
WIRE = r"(?:REUTERS|Reuters|AFP|Getty Images|Associated Press)"
STOCK_SITE = r"(?i:unsplash|pexels|pixabay|giphy)"
SITE = (  # that pictures are passed on from
    rf"(?:@[\w.]+|{STOCK_SITE}|(?i:flickr|pinterest|instagram|facebook|twitter|tumblr|reddit|imgur|wikimedia(?: commons)?|wikipedia|youtube|google(?: maps)?))"
)
SLASHED = (  # agencies that are told by the slash beside them
    rf"(?:{WIRE}|AP(?: Photo)?|EPA(?:-EFE)?|PA(?: Wire| Images)?|Xinhua|ANI|PTI|IANS|TASS|Sputnik|[Dd][Pp][Aa]|Anadolu(?: Agency)?"
    r"|Kyodo|Yonhap|Bloomberg|UPI|NurPhoto|Shutterstock|Alamy)"
)
GIVEN_BY = r"(?:staff|courtesy|contributed|submitted|handout|file|archive|provided|supplied|family|press)"
FILED = (  # an agency's picture from its files, and when it was taken
    r"file ?(?:photo ?)?[:–—-]+ +(?:(?:(?:in|on) )?this (?:[a-z]{3,9}\.? )?(?:\d{1,2}, )?(?:\d{4},? )?(?:file )?(?:photo|image|picture)(?: provided by [^,]{1,40})?,? +)?"
)
NAMELESS_CREDIT = (
    r"(?:Photo|Image|Picture|PHOTO|IMAGE)s? ?(?i:credits?|sources?|courtesy(?: of)?|via)"  # its URL is gone
)
OWNER = (  # of a right, and what is reserved to them
    r"(?:[^©.]|\b(?:[a-z]|inc|ltd|co|corp|st|dr|jr)\.){0,50}(?:\. *(?:all rights reserved)?\.?)?"
)
NAMES = r"(?:[^ .!?]+[ .]*){1,7}"  # who is to be credited

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
    *CATALOGUE_PAGE,
    *CATALOGUE_FOREIGN,
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
            (
                rf"(?i)^(?:\d{{6,8}}[_-]+)?{CAMERA}(?: ?(?:copy|edit(?:ed)?|final|web)(?: ?\d+)?)?(?:（\d+）)?(?:{EXTENSION})?$",
                "",
            ),
            (rf"(?i)^{UUID}$", ""),
            (r"[ _-]*@[23]x$", ""),  # of a screen with more dots
            (rf"([{LETTER},.)])%20", r"\1 "),
            (rf"(?i)(?:\b|_){CAMERA}(?:-\d{{2,4}}x\d{{2,4}})?(?: ?\(\d+\))?(?:{EXTENSION}\b)?", ""),
            (rf"(?i)^(?:{TAKEN}|{UNSPLASHED})(?:{EXTENSION})?$", ""),
            (rf"(?i)(?:^| ){AGENCY_NAME}(?:{EXTENSION})?$", ""),
            (
                rf"(?i)^(?:{AGENCY_NAME}[_-])?(?:royalty-free-)?stock-{KIND}-(.+?)(?:-\d{{5,}})?(?:{EXTENSION})?$",
                r"\1",
            ),
            (rf"(?i)^{SHOT}(?:{EXTENSION})?$", ""),
            (rf"(?i)^(?:{NAMELESS}[\d_. ()-]*|[\d_. -]+|[\da-f-]{{12,}}){EXTENSION}$", ""),
            (rf"(?i)([{LETTER}\d])[_-](?:\d{{2,4}}x\d{{2,4}}|scaled){EXTENSION}\b{QUERY}", r"\1"),
            (rf"(?i)([{LETTER}\d)_-]){EXTENSION}\b{QUERY}", r"\1"),
        ),
        within=rf"(?i){EXTENSION}\b|(?:\b|_){CAMERA}|%20|\b{AGENCY_NAME}",
        start=rf"\d{{2,4}}px-|(?i:{UUID}|{SHOT}(?:{EXTENSION})?$|{TAKEN}$|(?:royalty-free-)?stock-{KIND}-)",
        end="-unsplash|@[23]x",
    ),
    *CATALOGUE_ZH,
    Pattern(
        "slugs",
        "March-2012-Page-of-the-Month",
        "March 2012 Page of the Month",
        ((r"[_+-]+", " "),),
        start=rf"[{LETTER}\d]+(?:\+[{LETTER}\d]+){{3,}}$|[{ALPHABETIC}\d.,()']+(?:[_-]+[{ALPHABETIC}\d.,()']+){{3,}}$|[{LETTER}\d-]+(?:_+[{LETTER}\d-]+)+$",
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
    *CATALOGUE_STOCK,
    FOREIGN_CREDITS,
    Pattern(
        "photo_credits",
        "Fans at ANZ Stadium (Photo by Mark Kolbe/Getty Images)",
        "Fans at ANZ Stadium",
        (
            (rf"^(?i:{CREDIT}s? by) {PERSON}(?:(?:on|from|via) {STOCK_SITE})?(?:: +|$)", ""),
            (rf"(?i)[ ,]+(?:via|from|on) {STOCK_SITE}$", ""),
            (rf"(?i)^{FILED}", ""),
            (
                rf"(?i)^{CREDIT}s?(?: credit)?(?: ?:| by) *(?:{NOBODY}|@[\w.]+)(?: (?:via|on|from) [\w.]+)?$",
                "",
            ),
            (rf"(?i) *\({GIVEN_BY} {CREDIT}s?\b[^()]*\)\.?$", ""),
            (rf"(?i)([.!?]) *(?:{GIVEN_BY} |ap |afp |reuters ){CREDIT}s?[.]?$", r"\1"),
            (rf"(?i)[ ,;|–—-]+{CREDIT}s?: {NOBODY}\.?$", ""),
            (rf"^([^ ]+ [^ ]+.*?)(?:[ ,;|–—-]+| ?\()(?i:{CREDIT}s? via) {SITE}\)?$", r"\1"),
            (rf" *[,;|(–—-] *(?i:{CREDIT}s? via) {PERSON}\)?$", ""),
            (r"(?i)[ ,;|–—-]+provided courtesy of .*$", ""),
            (
                rf"(?:([.!?])[ |/–—-]*|[ ,;|/–—-]+|^)(?:\(c\) {PERSON}|\([cC]\) ?(?:19|20)\d\d\b[^()]{{0,50}})$",
                r"\1",
            ),
            (r"(?i)^copyright (?:19|20)\d\d\b.{0,60}$", ""),
            (rf"(?:^|([.!?]) +){WIRE} ?/ ?{PERSON}$", r"\1"),
            (
                rf"(?:^|([.!?]) +| *[(\[]| +[|–—-] +)(?i:(?:image|photo|picture)? ?sources?): {PERSON}[)\]]?$",
                r"\1",
            ),
            (r"[ ,|–—-]*[(\[]?\bCC[ -]BY(?:-[A-Z]{2}){0,2}(?: \d\.\d)?[)\]]?$", ""),
            (rf"(?i) *\({CREDIT}s?(?: credit| courtesy)?(?: by| of|:|/)[^()]*\)", ""),
            (r"(?i) *\((?:mandatory )?(?:credit|courtesy)s?(?: of|:)[^()]*\)", ""),
            (rf" *\((?:{WIRE}|{SLASHED} ?/[^()]+|[^()/]+/ ?{SLASHED})\)$", ""),
            (rf" *\[(?:{WIRE}|AP|[^\[\]/]+/ ?(?:{SLASHED}|Al Jazeera))\]$", ""),
            (
                r"(?i) *\((?:ap|getty|supplied|(?:submitted|provided|contributed|supplied) by [^()]{1,40})\)\.?$",
                "",
            ),
            (rf" +(?:AFP|AP|EPA|REUTERS|Reuters) ?/ ?(?:Getty Images|{SLASHED})$", ""),
            (rf"([.!?])[ |/–—-]*{SLASHED} ?/ ?{PERSON}$", r"\1"),
            (rf"(?:([.!?])[ |/–—-]*|[,;|–—-] *)(?i:pics?|fotos?|bild):  ?{PERSON}$", r"\1"),
            (rf"(?i)([.!?]) +(?:credits?|source|courtesy(?: of)?)\b:? {NAMES}$", r"\1"),
            (r"(?i)(?:([.!?])[ |/–—-]*|[ ,;|/–—-]+)\(?cc[ -]by(?:-(?:sa|nc|nd))*(?: \d\.\d)?\)?$", r"\1"),
            (rf"(?i)[ ,;:|/–—-]*(?:mandatory |{CREDIT} )credits?:? {NAMES}$", ""),
            (
                rf"(?i)(?:([.!?])[ |/–—-]*|[,;|/–—-] *)(?:{CREDIT}s?(?: by:?| courtesy(?: of)?:?)|{PRESS}photo(?:graph)?s?:) {NAMES}$",
                r"\1",
            ),
            (
                rf"(?:([.!?])[ |/–—-]*|[,;|–—-] *|^)(?i:cr[ée]dit(?:s|os?)? ?(?:photos?|images?|fotos?|fotográfico|da foto|de la foto)) ?: *{PERSON}$",
                r"\1",
            ),
            (r"(?i)[ ,.;|/–—-]*© ?(?:picture[ -]alliance|dpa|imago)\b[^©]{0,40}$", ""),
            (rf"(?i)([.!?]) +{CREDIT}s?:[ #*]*$", r"\1"),
            (rf"(?:([.!?]) +| *[,;|/(\[–—-]+ *| +){NAMELESS_CREDIT}[ :)\]]*$", r"\1"),
            (rf" +(?i:{CREDIT}|foto|bild)s?: ?(?:{WIRE}|{SLASHED}) ?/ ?[^/]{{1,40}}$", ""),
            (r" *[/|–—-] *(?:AFP|AP|EPA|REUTERS) (?i:photos?|images?)(?: ?/ ?[^/]{1,40})?$", ""),
            (rf"(?:([.!?])[ |/–—-]*|[,;|–—-] *)(?i:{PRESS}(?:image|picture)s?:) {PERSON}$", r"\1"),
            (rf"(?:([.!?])[ |/–—-]*|[ ,;|/–—-]+)(?i:{CREDIT}s? ?)?© ?{PERSON}(?:(?:19|20)\d\d)?$", r"\1"),
            (rf"(?i)[ ,.;|/–—-]*(?:copyright ?)?© ?(?:copyright )?(?:19|20)\d\d\b{OWNER}$", ""),
            (r"(?i)^(?:copyright )?© ?[^|©]{1,40} [|] +", ""),
            (rf"^([^ ]+(?: [^ ]+){{2,}}?) C(?:redit|REDIT)S?: {PERSON}$", r"\1"),
            (r"(?i)[ ,;|/–—-]*\ball rights reserved\.?$", ""),
        ),
        within=(
            rf"(?i)\({CREDIT}|cr[ée]dit|© ?(?:picture|dpa|imago)|courtesy|{CREDIT}s?(?: by|:)|© ?(?:19|20|copyright)|© ?[A-Z\x{{C0}}-\x{{DE}}]"
            rf"|all rights|{SLASHED} ?/|source|(?:pics?|foto|bild): |\b(?:on|from|via) {STOCK_SITE}|^{CREDIT}s?(?: by\b| ?:)|\bCC[ -]BY"
            rf"|[/|–—-] *(?:AFP|AP|EPA|REUTERS) (?:photo|image)|^{FILED}|{GIVEN_BY} {CREDIT}|{CREDIT}s? via |\(c\)|^copyright|: {NOBODY}\.?$|(?:ap|afp|reuters) photo\.?$"
        ),
        end=rf"{NAMELESS_CREDIT}[ :)\]]*|\({WIRE}\)|[(\[](?i:ap|getty|reuters|supplied)[)\]]|(?i:(?:submitted|provided|contributed|supplied) by [^()]{{1,40}})\)|(?:AFP|AP|EPA|REUTERS|Reuters) ?/ ?[A-Z][A-Za-z ]{{1,15}}|/ ?(?:{SLASHED}|Al Jazeera)[)\]]|\b(?i:cc[ -]by)(?i:-sa|-nc|-nd)*(?: \d\.\d)?\)?",
    ),
    Pattern(
        "copy_numbers",
        "laurel way house in beverly hills (9)",
        "laurel way house in beverly hills",
        ((rf"([{LETTER}\d]) ?(?:\(\d{{1,2}}\)|\[\d{{1,2}}\]|（\d{{1,2}}）)$", r"\1"),),
        end=r"\(\d{1,2}\)|\[\d{1,2}\]|（\d{1,2}）",
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
            (rf"([{HAN}])\.\.$", r"\1..."),  # where a site cut the text
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
            (
                rf"([{HAN}\x{{3000}}-\x{{303F}}\x{{FF00}}-\x{{FFEF}}”’])…{{3,}}",
                r"\1……",
            ),  # in Chinese it is two
            (
                rf"(^|[^{HAN}\x{{3000}}-\x{{303F}}\x{{FF00}}-\x{{FFEF}}”’…])…{{2,}}([^…{HAN}]|$)",
                r"\1…\2",
            ),
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
        (
            (r"(?:[|,;:/\\_•·«~–—―，、；：→⬇▶▼◀◄ -]| [»<>*&=#^+])+$", ""),
            (r"([^ ↓]) *↓+$", r"\1"),
        ),
        end=r"[ |,;:/\\_•·«»<~–—―，、；：→↓⬇▶▼◀◄*&=>#^+-]",
    ),
)

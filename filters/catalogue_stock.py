"""The tails and heads that picture agencies put around captions, in the languages in which English ones carry them.

Part of `filters.catalogue`; kept by itself as it grows with every agency's every language.
"""

from __future__ import annotations

from filters.pattern import Pattern

# What the agencies call their goods, in the languages in which English captions carry it.
KIND = (
    r"(?:photos?|photograph(?:s|y)?|images?|pictures?|pics?|vectors?|illustrations?|footage|videos?|clips?"
    r"|clip ?arts?|fotos?|fotografie|graphics?|vektorgrafik)"
)
FREE = r"(?:(?:editorial|free|premium|royalty[ -]free|rights[ -]managed) )"
FOREIGN_STOCK = (
    r"(?:(?:lizenzfreie\w* |royalty[ -]free )?"
    rf"(?:stock-?foto\S*|stock[ -]?vektor\S*|(?:photos?|images?|vecteurs?) gratuite?s?|{KIND} (?:de )?stock|stok foto\S*|vettoriali stock|zdjęcie seryjne"
    r"|stock illustratie|стоков\S+ \S+|\S{{0,12}}(?:图库|圖庫|ストック)\S{{0,18}})"
    r"|lizenzfreie\w* (?:bilder|fotos?|vektor\w*|illustration\w*|videos?)|(?:photos?|images?|vecteurs?) libres? de droits|illustrations? de vecteur)"
)
# A tail of nothing but the word for a stock vector or photograph, as the agencies' other languages have it.
FOREIGN_TAIL = (
    r"(?:stock(?:vektor\w*|vector\w*|illustratie\w?|illustration\w*|video\w?|bild\w*|fot[oó]\S*)|bildbanks?\w+|vecteurs?|vektor\w*"
    r"|image vectorielle|vecteurs? libres? de droits|clip ?art vectoriel|(?:vetor(?:es)?|vectores?|vector|fotos?|fotografías?|fotografias?|imágenes"
    r"|imagens|photos?|images?|vídeos?|vidéos?|illustrations?|ilustração|ilustración|ilustrações) (?:de )?(?:stock|archivo|banco de imagens?)"
    r"|archivo imágenes vectoriales|vettoriale? stock|foto stock|illustrazione stock|(?:zdjęcie|wektor|grafika|wideo) (?:stockow[eay]|wektorow[ea])"
    r"|stok (?:vektör|fotoğraf\w?|görsel\w?|illüstrasyon)|(?:arkiv|lager|archiv)(?:foto|bild|vektor)\w*|stockov\S+ \S+|стоков\S+ \S+"
    r"|векторн\S+ \S+|스톡 \S+|ベクターイラスト|ストック\S+|(?:lizenzfreie\w*|rechtenvrije|royaltyfri\w*|royalty[ -]free) [\w']+"
    r"|stock (?:fotó|vektor|kép|illusztráció|videó|bilde?r?)\w*|(?:foto|gambar|vektor|ilustrasi|video) stok|kuvapankki\w+|arkisto\w+"
    r"|(?:fotograf\S+ ?)?(?:imagin\w|ilustra\S+|vectori?|video)? ?(?:de )?stoc|(?:ilustração (?:de arte )?em vetor|imagem vetorial)"
    r"|\S+สต็อก\S*|\S+ αρχείου|(?:صور\S*|فيديو|متجه\S*) مخز\S*|(?:תמונ\S+|וקטור|סרטון) (?:סטוק|מאגר)|स्टॉक \S+"
    r"|(?:ảnh|hình ảnh|video|vector) (?:lưu trữ|có sẵn|kho|stock)|kaufen sie dieses \w+|(?:photos?|images?|illustrations?|vidéos?|imagen|imágenes|fotos?|ilustraci\w+) libres? de (?:droits|derechos)"
    r"|(?:vector|vetor|vecteur|vettore|vektor|foto|photo|psd|ilustraci[oó]n|ilustração|imagen|imagem) (?:premium|gr[aá]tis|gratuite?|gratuito)"
    r"|premium-?(?:vektor|foto|psd)\w*|kostenlose[rs]? (?:vektor|foto|bild)\w*|immagin[ei] royalty[ -]free)"
)
# The same without a dash before it; English words for it stand within.
FOREIGN_ROYALTY = (
    r"(?:(?:imagens?|fotos?|fotografias?|ilustraç(?:ão|ões)|vetor(?:es)?) (?:de )?stock(?: royalty[ -]free)?"
    r"|(?:fotos?|fotografías?|imagen|imágenes|ilustraci(?:ón|ones)) de archivo(?: libres? de (?:regalías|derechos))?"
    r"|(?:immagin[ei]|fotografi[ae]|illustrazion[ei]) stock(?: liber[ae] da diritti)?|banque d['’]images?(?: libres? de droits)?"
    r"|royaltyfri[ae]? \w+|fotografering för bildbyråer|stock afbeelding\w*)"
)
BEFORE = "(?: *[|:–—-]+)? +"  # what parts a caption from the agency's words
NUMBER = r"[ :#№–—-]*\d*\.?"
AGENCY = (
    r"(?:shutterstock|istock ?photo|stockphoto|depositphotos|dreamstime|123rf|alamy|fotolia|bigstock(?:photo)?"
    r"|istock|adobe ?stock|getty ?images|vectorstock|can ?stock ?photo|fotosearch|freepik|pond5|graphicriver"
    r"|videohive|colourbox|unsplash|pexels|pixabay|rawpixel|vecteezy|pngtree|stocksy|agefotostock|lovepik|pngwing|cleanpng)"
)
DASH = r"(?:-{1,2}|[–—―])"
PRESS = "(?:ap |afp |reuters )?"
CREDIT = f"{PRESS}(?:photo(?:graph)?|image|picture)"
NOBODY = r"(?:supplied|facebook|instagram|twitter|getty(?: images)?|file|handout|reuters|afp|ap|shutterstock|istock|nasa|wikipedia|wikimedia(?: commons)?)"

CATALOGUE_STOCK: tuple[Pattern, ...] = (
    Pattern(
        "stock_tails",
        "Boy blowing out candles — Stock Photo #13233201",
        "Boy blowing out candles",
        (
            (rf"(?i) {FREE}*stock {KIND} - (?:premium )?(?:royalty-free|rights-managed), artist:.*$", ""),
            (rf"(?i){BEFORE}{FOREIGN_ROYALTY}{NUMBER}$", ""),
            (rf"(?i){BEFORE}stock {KIND} ?© ?\w+(?: #\d+)?$", ""),
            (rf"(?i){BEFORE}{FREE}*stock(?: (?:{KIND}|&|and|royalty-free))+{NUMBER}$", ""),
            (rf"(?i){BEFORE}{FREE}+(?:stock )?(?:{KIND}|clip ?art){NUMBER}$", ""),
            (rf"(?i){BEFORE}{FOREIGN_STOCK}{NUMBER}$", ""),
            (rf"(?i) +[|–—-] +{FOREIGN_TAIL}{NUMBER}$", ""),
            (rf"(?i) stock {KIND}\. {KIND} of .+ - \d{{5,}}$", ""),
            (rf"(?i){BEFORE}stock {KIND} - [A-Z]\d{{3}}/\d{{4}}$", ""),
            (
                r"(?i)[,.]? (?:stock photo, pictures? and royalty free images?|royalty free (?:cliparts?|photos?|svg|images?)"
                r"(?:, (?:cliparts?|vectors?|pictures?|images?|photos?))*,? and stock (?:illustration|photo\w{0,6}|video)s?)\.?(?: image \d+\.?)?$",
                "",
            ),
            (r"(?i) +[|–—-](?: free| kostenloses)? vector(?: gratuit)?[ #]+\d+$", ""),
            (rf"(?i) *(?: {DASH} |[|] *|\bby |©){AGENCY}\b[^-|]{{0,30}}$", ""),
            (rf"(?i) +(?:(?:{CREDIT}s?:|via|from|by|on|at) +|/ *)?{AGENCY}(?:\.com)?\.?$", ""),
            (rf"(?i) *[(\[]{AGENCY}[)\]]\.?$", ""),
            (r"(?i) *\| *price: \d+ credits? \(usd \$\d+\)$", ""),
            (r"(?i)( vector(?: image)?)(?: vector(?: image)?)+$", r"\1"),
        ),
        within=(
            rf"(?i), artist:|\| *price:|{AGENCY}|[|–—-] +(?:rechtenvrij|royaltyfri|kaufen)|lizenzfrei| libres? de d| de vecteur"
            r"|pictures? and royalty|,? and stock (?:illus|photo|video)|สต็อก|αρχείου| مخز| (?:סטוק|מאגר)| stoc$|स्टॉक|kuvapankki"
            r"| [|–—-] +(?:psd |premium|kostenlos|bildbank|immag|photos? (?:prem|grat)|stock[a-z]|stock (?:fot|vekt|kép|illusz|vide|bild)|gambar|ilustra|imagem|ảnh|hình|vide|stok |ve[ck]t|vettoria|vetor|fotos? |fotograf|photos? de|images? (?:de|vec)|im[aá]ge|v[ií]d[eé]os? de|illustra|ilustra"
            r"|archivo|archiv(?:foto|bild)|arkiv|lager(?:foto|bild)|arkisto|wektor|grafika|zdj|wideo|clip ?art vec|стоков|векторн|스톡|ベクター|ストック)"
            r"| d['’]image|(?:imagens?|fotografias?|ilustraç\S+|vetor(?:es)?) (?:de )?stock|de archivo|(?:immagin[ei]|fotografi[ae]|illustrazion[ei]) stock"
            r"|royaltyfri|för bildbyr|stock afbeeld|stock-?foto|stok foto|vettoriali stock|seryjne|stock[ -]?vektor| gratuit|stock illustratie|стоков|图库|圖庫|ストック"
        ),
        end=(
            rf"(?i: stock {KIND} ?© ?\w+| #\d{{4,}}| stock(?: (?:{KIND}|&|and|royalty-free))+{NUMBER}"
            rf"|{FREE}(?:{KIND}|clip ?art){NUMBER}|{FREE}stock (?:{KIND}|clip ?art){NUMBER}"
            rf"|{KIND} (?:de )?stock{NUMBER}| - \d{{5,}}|stock {KIND} - \w{{4}}/\d{{4}}"
            rf"| vector(?: gratuit)?[ #]+\d+| vector(?: image)? vector(?: image)?)"
        ),
    ),
    Pattern(
        "stock_heads",
        "Royalty-Free Stock Photo: Sold Home For Sale Sign",
        "Sold Home For Sale Sign",
        (
            (rf"(?i)^(?:stock )?(?:{KIND}|clip ?art) of [^-]{{1,40}} - (.+) - jpg$", r"\1"),
            (rf"(?i)^(?:{FREE}*stock (?:{KIND} )*{KIND}|royalty[ -]free {KIND})(?: of|:| {DASH}) +", ""),
        ),
        start=rf"(?i:{FREE}*stock|royalty)",
        end="(?i: - jpg)",
    ),
)

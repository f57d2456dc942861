"""What pages in other languages put around an English text: prompts to click, numbers of pictures, and credits.

Part of `filters.catalogue`.
"""

from __future__ import annotations

from filters.pattern import Pattern

LARGER = (  # why one should click
    r"(?:para (?:ampliar|agrandar|ver (?:más|mais) grande)|pour (?:agrandir|zoomer|voir en grand)|per ingrandire"
    r"|zum vergrößern|um (?:das bild )?zu vergrößern|om te vergroten|voor (?:een )?vergroting|för att förstora|för större bild"
    r"|(?:for|til) (?:å |at )?(?:større bilde|forstørre|se større)|(?:aby|żeby|by) powiększyć|pro zvětšení|a nagyításhoz"
    r"|pentru mărire|büyütmek için|(?:чтобы|для) увелич\S+)"
)
PLACE = (
    r"(?:aquí|aqui|ici|qui|hier|här|her|tutaj|zde|(?:en|sobre) la (?:imagen|foto)|na (?:imagem|foto)|sur (?:l['’]image|la photo)"
    r"|sull['’]immagine|sulla foto|auf das (?:bild|foto)|op de (?:afbeelding|foto)|på bild(?:en|et)|na zdjęcie|na obrázek"
    r"|на (?:фото|картинку|изображение))"
)
PROMPT = (
    rf"(?:(?:haga |haz |fai |faça |faire )?(?:clic|click|clique|cliquez|clicca|klik|klikk|klikka|klicka|klicken sie|kliknij|klikněte|kattintson|нажмите)"
    rf",? (?:{PLACE},? )?{LARGER}|{LARGER},? (?:bitte )?(?:{PLACE} )?(?:klicken|tıklayın)|agrandir l['’]image|ampliar (?:imagen|imagem|foto)|bild vergrößern"
    r"|afbeelding vergroten|ingrandisci (?:l['’])?immagine)"
)
COUNTED = (
    r"(?:(?:bild|foto|photo|image) \d{1,3} (?:von|sur|di|van|av) \d{1,4}|(?:imagen|imagem|foto|immagine|afbeelding) \d{1,3} (?:de|di|van) \d{1,4}"
    r"|zdjęcie \d{1,3} z \d{1,4})"
)

CREDITED = (  # who took a picture, or gave it
    r"(?:фото(?:графия|граф)?|снимка|източник|источник|джерело|извор|φωτο(?:γραφία)?|πηγή|写真(?:提供)?|撮影|사진(?: ?제공)?|출처"
    r"|المصدر|تصوير|الصورة|צילום|תמונה)"
)

FOREIGN_CREDITS = Pattern(
    "foreign_credits",
    "The mayor opens the bridge. Фото: Иван Петров",
    "The mayor opens the bridge.",
    ((rf"(?i)(?:([.!?]) *| *[(\[|/,–—-]+ *| +){CREDITED} ?(?:[:：/©]|[|–—-] ) ?[^:：]{{1,60}}$", r"\1"),),
    within=rf"(?i){CREDITED} ?(?:[:：/©]|[|–—-] )",
    wide=True,
)

CATALOGUE_FOREIGN: tuple[Pattern, ...] = (
    Pattern(
        "foreign_prompts",
        "Red barn in snow - Cliquez pour agrandir",
        "Red barn in snow",
        (
            (rf"(?i)^{PROMPT}[.!]*(?:$|[ :.,–—-]+)", ""),
            (rf"^(?i:{COUNTED})(?:$|[.!]* *[:.,–—-]+ *| +([A-Z]))", r"\1"),
            (rf"(?i)(?:[ |:,;–—-]+| *[(\[]|([.!?]) +)(?:{PROMPT}|{COUNTED})[.!]*[)\]]?$", r"\1"),
        ),
        start=rf"(?i:{PROMPT}|{COUNTED})",
        end=rf"(?i:(?:{PROMPT}|{COUNTED})[.!]*[)\]]?)",
    ),
)

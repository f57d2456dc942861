"""Makes the samples of the sets with questions, boxes and texts: python make_tasks.py (see CREDITS.md).

Pictures are copied from images/ under names as COCO gives them, or drawn. What is asked, answered and located
was written by hand, looking at them. Ids, addresses and similarities are made up. Running it again gives the
same files.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
PICTURES = HERE / "tasks"
SITE = "https://example.org/curate-sample/"  # a name that is reserved for examples: nothing is there
COCO = "COCO_train2014_{:012d}.jpg"

NAMES = ("cat", "astronaut", "espresso", "photographer", "umbrella")  # numbered from 1

# picture, question, short answer, long answer, what the other people said (and how sure they were)
QUESTIONS: tuple[tuple[int, str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (1, "What animal is this?", "cat", "This is a cat.", (("kitten", "maybe"), ("tiger", "no"))),
    (1, "Are the cat's eyes open?", "yes", "Yes, the eyes of the cat are open.", (("no", "no"),)),
    (2, "What color is the space suit?", "orange", "The space suit is orange.", (("red", "maybe"),) * 2),
    (2, "Does the woman to the right of the flag smile?", "yes", "Yes, the woman smiles.", ()),
    (3, "What is on the saucer?", "cup and spoon", "A cup and a spoon are on the saucer.", (("cup", "yes"),)),
    (3, "Is the cup full?", "no", "No, the cup is half empty.", (("yes", "maybe"),) * 3),
    (4, "What does the camera stand on?", "tripod", "The camera stands on a tripod.", (("grass", "no"),)),
    (5, "What does the woman carry?", "umbrella", "The woman carries an umbrella.", (("bag", "maybe"),) * 4),
)

# picture, what is there, x, y, width, height in pixels
REGIONS: tuple[tuple[int, str, int, int, int, int], ...] = (
    (1, "left green eye of a cat", 100, 64, 56, 48),
    (1, "the pink nose of the cat", 168, 165, 50, 35),
    (1, "Right eye of the cat.", 218, 84, 42, 38),
    (2, "woman in an orange space suit", 18, 8, 232, 328),
    (2, "Black helmet with a visor", 182, 224, 150, 112),
    (2, "a small model of the space shuttle", 226, 2, 76, 174),
    (2, "round blue patch on the suit", 86, 226, 52, 54),
    (3, "A white cup of espresso on a red saucer", 96, 4, 138, 162),
    (3, "a silver tea spoon", 180, 130, 48, 54),
    (4, "man looking through a camera", 0, 40, 214, 296),
    (4, "tripod standing in the grass", 150, 190, 122, 146),
    (5, "a woman walking under an umbrella", 82, 130, 94, 174),
    (5, "open black umbrella", 80, 130, 98, 34),
)

# picture, caption, its phrases with their boxes x0, y0, x1, y1 in pixels
CAPTIONS: tuple[tuple[str, str, dict[str, list[tuple[int, int, int, int]]]], ...] = (
    (
        "cat",
        "Portrait of a tabby cat with green eyes",
        {
            "a tabby cat with green eyes": [(0, 0, 292, 224)],
            "a tabby cat": [(0, 0, 292, 224)],
            "green eyes": [(100, 64, 156, 112), (218, 84, 260, 122)],
        },
    ),
    (
        "astronaut",
        "An astronaut in an orange suit holds her helmet in front of a flag and a model of the Space Shuttle",
        {
            "An astronaut in an orange suit": [(18, 8, 250, 336)],
            "an orange suit": [(18, 100, 250, 336)],
            "her helmet": [(182, 224, 332, 336)],
            "a flag": [(0, 0, 84, 200)],
            "a model of the Space Shuttle": [(226, 2, 302, 176)],
        },
    ),
    (
        "espresso",
        "Espresso in a white cup on a red saucer with a silver spoon",
        {
            "a white cup": [(96, 4, 234, 166)],
            "a red saucer": [(44, 44, 268, 214)],
            "a red saucer with a silver spoon": [(44, 44, 268, 214)],
            "a silver spoon": [(180, 130, 228, 184)],
        },
    ),
    ("umbrella", "A rainy day in an old alley, black and white", {"an old alley": [(300, 10, 200, 400)]}),
)

TEXTS = (
    ("en-tides.txt", "The tide comes in twice a day.\nFishermen know its times by heart."),
    ("en-bread.txt", "Bread needs flour, water, salt and patience.\n\nThe last of these is not for sale."),
    ("zh-tea.txt", "春天采下的茶叶最嫩。\n水烧开以后，稍等片刻再泡。"),
    ("empty.txt", " \n"),
)


def main() -> None:
    """Make all samples anew."""
    pictures()
    vqav2()
    single("gqa.json", dict(gqa()))
    single("dvqa_qa.json", list(dvqa()))
    single("ocr-vqa.json", dict(ocr_vqa()))
    single("docvqa_v1.0.json", {"dataset_name": "docvqa", "dataset_split": "train", "data": list(docvqa())})
    visual_genome()
    for name, by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        references(name, by)
    grit()
    (HERE / "text").mkdir(exist_ok=True)
    for name, text in TEXTS:
        (HERE / "text" / name).write_text(text, encoding="utf-8")


def pictures() -> None:
    """The pictures under COCO's names, a chart, a page and two covers."""
    (PICTURES / "documents").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES, 1):
        shutil.copyfile(HERE / "images" / f"{name}.jpg", PICTURES / COCO.format(number))
    chart().save(PICTURES / "bar_train_00000001.png", optimize=True)
    letter = ["HARBOUR COMMITTEE", "", "Date: March 4, 1976", "To: Mr. R. Vane", "Subject: New lamps", "",
              "The lamps on the north pier", "cost 1,250 dollars in all."]  # fmt: skip
    page(letter, "#ffffff", "#202020").save(PICTURES / "documents" / "hrbr0001_1.png", optimize=True)
    for number, lines, paper in COVERS:
        page(lines, paper, "#ffffff").save(PICTURES / f"{number}.png", optimize=True)


COVERS = (
    ("0000000101", ["", "TIDES", "AND", "TIMES", "", "", "by Ada Moor"], "#1d5c7c"),
    ("0000000202", ["", "BREAD", "EVERY DAY", "", "", "", "by Jo Hearth"], "#8a4b22"),
)


def page(lines: list[str], paper: str, ink: str) -> Image.Image:
    """Lines of text on a page."""
    image = Image.new("RGB", (280, 40 + 30 * len(lines)), paper)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((20, 20 + 30 * number), line, fill=ink, font=ImageFont.load_default(18))
    return image


def chart() -> Image.Image:
    """A bar chart as DVQA draws them."""
    image = Image.new("RGB", (320, 260), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    draw.text((110, 8), "Sales of items", fill="black", font=font)
    for number, (name, value, colour) in enumerate(
        (("tea", 6, "#4878cf"), ("bun", 9, "#6acc65"), ("jam", 3, "#d65f5f"))
    ):
        left = 50 + 90 * number
        draw.rectangle((left, 220 - 20 * value, left + 50, 220), fill=colour)
        draw.text((left + 12, 226), name, fill="black", font=font)
        draw.text((20, 210 - 20 * value), str(value), fill="black", font=font)
    draw.line((40, 30, 40, 220, 310, 220), fill="black")
    return image


def vqav2() -> None:
    """Questions, and ten answers to each beside them."""
    questions, annotations = [], []
    for number, (picture, question, answer, _, others) in enumerate(QUESTIONS):
        identity = picture * 1000 + number
        said = [*others, *[(answer, "yes")] * (10 - len(others))]
        questions.append({"image_id": picture, "question": question, "question_id": identity})
        annotations.append(
            {
                "question_type": " ".join(question.split()[:2]).lower(),
                "multiple_choice_answer": answer,
                "answers": [
                    {"answer": one, "answer_confidence": sure, "answer_id": place}
                    for place, (one, sure) in enumerate(said, 1)
                ],
                "image_id": picture,
                "answer_type": "yes/no" if answer in ("yes", "no") else "other",
                "question_id": identity,
            }
        )
    annotations[-1]["question_id"] += 500  # one question without its answers, and they without it
    about = {"data_subtype": "train2014", "data_type": "mscoco", "license": {}, "info": {"version": "2.0"}}
    document = about | {"task_type": "Open-Ended", "questions": questions}
    single("vqav2/v2_OpenEnded_mscoco_train2014_questions.json", document)
    single("vqav2/v2_mscoco_train2014_annotations.json", about | {"annotations": annotations})


def gqa() -> Iterator[tuple[str, dict[str, Any]]]:
    """Questions by their ids."""
    for number, (picture, question, answer, full, _) in enumerate(QUESTIONS):
        yield (
            f"0{number}{picture:05d}",
            {
                "imageId": str(picture),
                "question": question,
                "answer": answer,
                "fullAnswer": full,
                "isBalanced": True,
                "groups": {"global": None, "local": "13-color"},
                "types": {"structural": "query", "semantic": "attr", "detailed": "directOf"},
            },
        )


def dvqa() -> Iterator[dict[str, Any]]:
    """Questions on the chart."""
    rows = (
        ("How many units of the item tea were sold?", "6", "data", [20, 90, 10, 14]),
        ("Which item sold the most units?", "bun", "reasoning", [152, 226, 24, 14]),
        ("Is each bar a single solid color?", "yes", "structure", []),
    )
    for number, (question, answer, kind, box) in enumerate(rows, 1):
        row = {"question": question, "question_id": number, "answer": answer, "question_type": kind}
        yield row | {"image": "bar_train_00000001.png", "bbox_answer": box}


def ocr_vqa() -> Iterator[tuple[str, dict[str, Any]]]:
    """Books, each with its questions; the last one is for testing."""
    books = (
        ("0000000101", "Tides and Times", "Ada Moor", "Science & Math", 1),
        ("0000000202", "Bread Every Day", "Jo Hearth", "Cookbooks, Food & Wine", 1),
        ("0000000303", "A Book for Testing", "Sam Measure", "Test Preparation", 3),
    )
    for number, title, author, genre, split in books:
        yield (
            number,
            {
                "imageURL": f"{SITE}{number}.png",
                "questions": [
                    "Who wrote this book?",
                    "What is the title of this book?",
                    "What type of book is this?",
                ],
                "answers": [author, title, genre],
                "title": title,
                "authorName": author,
                "genre": genre,
                "split": split,
            },
        )


def docvqa() -> Iterator[dict[str, Any]]:
    """Questions on the letter."""
    rows = (
        ("What is the date mentioned in the letter?", ["March 4, 1976", "3/4/76"]),
        ("To whom is the letter addressed?", ["Mr. R. Vane", "R. Vane", "Mr. R. Vane"]),
        ("How much do the lamps cost?", ["1,250 dollars"]),
    )
    for number, (question, answers) in enumerate(rows, 337):
        yield {
            "questionId": number,
            "question": question,
            "image": "documents/hrbr0001_1.png",
            "docId": 1,
            "ucsf_document_id": "hrbr0001",
            "ucsf_document_page_no": "1",
            "answers": answers,
            "data_split": "train",
        }


def visual_genome() -> None:
    """Regions, questions and image data; the first image's is of twice its size, as if it had been shrunk."""
    images, regions, questions = [], [], []
    for number in range(1, len(NAMES) + 1):
        factor = 2 if number == 1 else 1
        width, height = (side * factor for side in size(number))
        images.append(
            {"width": width, "url": f"{SITE}VG_100K/{number}.jpg", "height": height,
             "image_id": number, "coco_id": None, "flickr_id": 1000 + number}
        )  # fmt: skip
        found = [
            {"region_id": 1380 + place, "width": w * factor, "height": h * factor, "image_id": number,
             "phrase": phrase, "y": y * factor, "x": x * factor}
            for place, (of, phrase, x, y, w, h) in enumerate(REGIONS) if of == number
        ]  # fmt: skip
        regions.append({"regions": found, "id": number})
        asked = [
            {"a_objects": [], "question": question, "image_id": number, "qa_id": 986_200 + place,
             "answer": full, "q_objects": []}
            for place, (of, question, _, full, _) in enumerate(QUESTIONS) if of == number
        ]  # fmt: skip
        questions.append({"id": number, "qas": asked})
    regions.append({"regions": [], "id": 99})  # an image of which nobody said anything
    single("visual-genome/image_data.json", images)
    single("visual-genome/region_descriptions.json", regions)
    single("vgqa/image_data.json", images)
    single("vgqa/question_answers.json", questions)


def references(name: str, by: str) -> None:
    """References as a pickle, and the boxes that they name; the last one is for validation."""
    refs, annotations = [], []
    for number, (picture, phrase, x, y, width, height) in enumerate(REGIONS):
        annotations.append(
            {"id": 7000 + number, "image_id": picture, "bbox": [x, y, width, height], "iscrowd": 0,
             "category_id": 1, "area": width * height, "segmentation": [[x, y, x + width, y, x, y + height]]}
        )  # fmt: skip
        sentences = [
            {
                "sent_id": 10 * number + place,
                "raw": raw,
                "sent": raw.lower().rstrip("."),
                "tokens": raw.lower().split(),
            }
            for place, raw in enumerate((phrase, phrase.split(" of ")[0]))
        ]
        refs.append(
            {"ref_id": 500 + number, "ann_id": 7000 + number, "image_id": picture, "category_id": 1,
             "file_name": COCO.format(picture).replace(".jpg", f"_{number}.jpg"), "sentences": sentences,
             "sent_ids": [one["sent_id"] for one in sentences],
             "split": "val" if number == len(REGIONS) - 1 else "train"}
        )  # fmt: skip
    images = [
        {"id": number, "file_name": COCO.format(number), "width": size(number)[0], "height": size(number)[1],
         "license": 1, "coco_url": f"{SITE}{COCO.format(number)}", "date_captured": "2013-11-14 17:02:52"}
        for number in range(1, len(NAMES) + 1)
    ]  # fmt: skip
    document = {"info": {}, "images": images, "licenses": [], "annotations": annotations}
    single(f"{name}/instances.json", document | {"categories": [{"id": 1, "name": "thing"}]})
    (HERE / name / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol=2))


def grit() -> None:
    """GRIT's columns; the second image's size is twice the true one, the last one's box is inverted."""
    rows = []
    for number, (name, caption, phrases) in enumerate(CAPTIONS):
        width, height = Image.open(HERE / "images" / f"{name}.jpg").size
        labels = [
            [caption.index(phrase), caption.index(phrase) + len(phrase), box[0] / width, box[1] / height,
             box[2] / width, box[3] / height, round(0.9 - place / 50, 8)]
            for place, (phrase, boxes) in enumerate(phrases.items()) for box in boxes
        ]  # fmt: skip
        factor = 2 if number == 1 else 1
        rows.append(
            {"clip_similarity_vitb32": 0.33, "clip_similarity_vitl14": 0.29, "id": 1_795_296_605_000 + number,
             "url": f"{SITE}{name}.jpg", "caption": caption,
             "width": width * factor, "height": height * factor,
             "noun_chunks": [one for one in labels if " with " not in caption[int(one[0]):int(one[1])]],
             "ref_exps": [one for one in labels if " with " in caption[int(one[0]):int(one[1])]]}
        )  # fmt: skip
    numbers, lists = pa.float64(), pa.list_(pa.list_(pa.float64()))
    types = (numbers, numbers, pa.int64(), pa.string(), pa.string(), pa.int64(), pa.int64(), lists, lists)
    schema = pa.schema(list(zip(rows[0], types, strict=True)))
    pq.write_table(pa.Table.from_pylist(rows, schema), HERE / "grit.parquet", compression="snappy")


def size(number: int) -> tuple[int, int]:
    """Width and height of a picture in pixels."""
    return Image.open(PICTURES / COCO.format(number)).size


def single(name: str, document: Any) -> None:
    """Write a JSON sample."""
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthdog import corpus, settings, wiki
from synthdog.errors import ItemError, ResourceError

SENTENCE = "The quick brown fox jumps over the lazy dog, twice. "


def load(path, **changes):
    table = {"document": {"content": {"text": {"paths": [str(path)], **changes}}}}
    return corpus.load(settings.load(table, "en").document.content.text, "en")


def words(text, count, at=0, lacks=lambda word: ()):
    reader = corpus.CorpusReader(corpus.Text(text), at, lacks)
    taken = []
    for _ in range(count):
        taken.append(reader.peek())
        reader.take()
    return [(word.text, word.spaced) for word in taken]


def test_the_corpora_that_ship_are_there_for_both_languages():
    for language in settings.LANGUAGES:
        text = corpus.load(settings.load(None, language).document.content.text, language)
        assert len(text) > 50_000


def test_text_jsonl_and_parquet_give_the_same_text(tmp_path):
    lines = [SENTENCE * 2, SENTENCE * 3]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"body": line}) for line in lines))
    pq.write_table(pa.table({"body": lines}), tmp_path / "c.parquet")
    texts = {load(tmp_path / name, column="body").sha256() for name in ("a.txt", "b.jsonl", "c.parquet")}
    assert len(texts) == 1


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files_give_the_same_text(tmp_path, suffix, pack):
    (tmp_path / "a.txt").write_text(SENTENCE * 9)
    (tmp_path / f"b.txt.{suffix}").write_bytes(pack.compress((SENTENCE * 9).encode()))
    line = json.dumps({"text": SENTENCE * 9}).encode()
    (tmp_path / f"c.jsonl.{suffix}").write_bytes(pack.compress(line))
    names = ("a.txt", f"b.txt.{suffix}", f"c.jsonl.{suffix}")
    assert len({load(tmp_path / name).sha256() for name in names}) == 1


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b no gzip", gzip.compress(SENTENCE.encode() * 9, mtime=0)[:-12]],
    ids=["another", "cut off"],
)
def test_a_broken_compressed_file_is_refused(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(ResourceError, match=r"corpus '.*a\.txt\.gz' cannot be read"):
        load(tmp_path / "a.txt.gz")


def test_the_files_of_wikiextractor_are_read_without_their_marks(tmp_path):
    (tmp_path / "AA").mkdir()
    page = f'<doc id="12" url="https://example.org/" title="Foxes">\nFoxes\n\n{SENTENCE * 5}\n\n</doc>\n'
    (tmp_path / "AA" / "wiki_00").write_text(page)
    (tmp_path / "AA" / "wiki_01").write_text(json.dumps({"id": "13", "title": "Dogs", "text": SENTENCE * 5}))
    text = load(tmp_path)
    assert text.window(0, 10_000) == " ".join(["Foxes", *[SENTENCE.strip()] * 10])


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_text_column_is_read(tmp_path, kind):
    pq.write_table(
        pa.table({"text": pa.array([SENTENCE * 5, None], pa.string()).cast(kind)}), tmp_path / "a.parquet"
    )
    assert load(tmp_path / "a.parquet").window(0, 9) == "The quick"


def test_a_corpus_without_a_letter_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("☺ … — ★ " * 50)
    with pytest.raises(ResourceError, match="holds no letter or digit"):
        load(tmp_path / "a.txt")


def test_english_words_part_at_spaces():
    assert words("one two-three, four", 4) == [
        ("one", False),
        ("two-three,", True),
        ("four", True),
        ("one", False),
    ]


def test_chinese_characters_part_but_keep_their_punctuation():
    assert [word for word, _ in words("子曰：“學而Unix時習之。”", 8)] == [
        "子",
        "曰：",
        "“學",
        "而",
        "Unix",
        "時",
        "習",
        "之。”",
    ]


def test_reading_starts_at_a_word():
    assert words("alpha beta gamma", 1, at=8)[0][0] == "gamma"


def test_words_that_a_face_lacks_are_left_out():
    assert words("one two one", 2, lacks=lambda word: word == "two") == [("one", False), ("one", True)]


def test_a_face_that_lacks_everything_ends_in_a_reason():
    with pytest.raises(ItemError) as caught:
        words("one two", 1, lacks=lambda word: True)
    assert caught.value.reason == "layout_failed"


def test_what_cannot_be_painted_a_character_at_a_time_is_left_out():
    assert corpus.clean(["plain नमस्ते שלום e\u0301tude zero\u200bwidth \u0e01 end"]) == "plain étude end"


def test_a_run_without_spaces_is_cut():
    assert {len(word) for word, _ in words("x" * 1000, 16)} <= {corpus.LONGEST, 1000 % corpus.LONGEST}


def test_no_more_is_kept_than_allowed(tmp_path):
    (tmp_path / "long.txt").write_text((SENTENCE + "\n") * 1000)
    assert len(load(tmp_path / "long.txt", max_chars=2000)) <= 2100


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.txt", b"", "0 usable characters"),
        ("blank.txt", b" \n\t\n" * 100, "0 usable characters"),
        ("binary.txt", b"MZ\0\0" + bytes(range(256)) * 9, "is binary"),
        ("latin.txt", "café naïve ".encode("latin-1") * 30, "1 of 1 lines are not UTF-8"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": \n{\n', "2 of 3 lines are not JSON with text in 'text'"),
        ("list.jsonl", b"[1, 2]\n", "1 of 1 lines are not JSON"),
        ("column.jsonl", b'{"body": "a"}\n', "not JSON with text in 'text', the first"),
        ("deep.jsonl", b"[" * 200_000 + b"\n", "not JSON"),
        ("broken.parquet", b"PAR1 nothing of the kind", "cannot be read"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_an_error_of_one_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ResourceError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_broken_line_costs_itself_alone(tmp_path):
    rows = [json.dumps({"text": SENTENCE}).encode()] * 5
    rows[2:2] = [b'{"text": null}', b"{broken", b'{"text": "caf\xe9"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(rows))
    assert len(load(tmp_path / "a.jsonl")) == len(SENTENCE) * 5 - 1


def test_a_parquet_without_the_column_names_those_it_has(tmp_path):
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ResourceError, match=r"no text column 'text' \(it has: body: string\)"):
        load(tmp_path / "a.parquet")


def test_a_parquet_value_that_is_not_utf8_costs_itself_alone(tmp_path):
    values = [SENTENCE.encode() * 2, b"caf\xe9 " * 30, None, SENTENCE.encode()]
    binary = pa.array(values, pa.binary())
    text = pa.StringArray.from_buffers(4, binary.buffers()[1], binary.buffers()[2], binary.buffers()[0])
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert len(load(tmp_path / "a.parquet")) == len(SENTENCE) * 3 - 1


def test_a_missing_corpus_is_an_error(tmp_path):
    with pytest.raises(ResourceError, match="does not exist"):
        load(tmp_path / "nowhere.txt")


DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo><sitename>W</sitename></siteinfo>
<page><title>Tide</title><ns>0</ns><revision><text>{{Infobox|name=Tide}}
'''Tides''' are the rise and fall of [[sea level|the sea]] caused by the Moon.&lt;ref&gt;A book about it&lt;/ref&gt;
[[File:Tide.jpg|thumb|A caption that is long enough to be taken for a paragraph of the text]]
== History ==
* an item of a list that is long enough to be taken for a paragraph of the text
{| class="wikitable"
| a cell that is long enough to be taken for a paragraph of the article's own text
|}
People who live by the water have known for thousands of years when it comes.
[[Category:Oceans]]</text></revision></page>
<page><title>Talk:Tide</title><ns>1</ns>
<revision><text>A discussion that is no article, long as it may well be.</text></revision></page>
<page><title>Tides</title><ns>0</ns><redirect title="Tide"/>
<revision><text>#REDIRECT [[Tide]] and more words than forty characters.</text></revision></page>
</mediawiki>"""
RUNNING = "Tides are the rise and fall of the sea caused by the Moon. "
RUNNING += "People who live by the water have known for thousands of years when it comes."


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
def test_a_wiki_s_dump_is_read_as_it_comes(tmp_path, suffix):
    pack = {"": lambda data: data, ".bz2": bz2.compress, ".gz": gzip.compress}[suffix]
    dump = tmp_path / f"enwiki-pages-articles.xml{suffix}"
    dump.write_bytes(pack(DUMP.encode()))
    assert load(dump).window(0, 10_000) == RUNNING


@pytest.mark.parametrize("content", ["<html><body>no dump</body></html>", "<mediawiki><page>", "plain"])
def test_what_is_no_dump_is_refused(tmp_path, content):
    (tmp_path / "dump.xml").write_text(content)
    with pytest.raises(ResourceError, match=r"dump\.xml"):
        load(tmp_path / "dump.xml")


class EndlessPage:
    """A dump whose one page never ends; counts the bytes taken of it."""

    def __init__(self):
        self.taken = 0

    def read(self, size):
        head = b"<mediawiki><page><text>" if self.taken == 0 else b""
        self.taken += size
        return head + b"x" * (size - len(head))


def test_a_wiki_s_page_without_end_is_not_read_for_ever():
    stream = EndlessPage()
    with pytest.raises(ValueError, match="a page of more than 16 MB"):
        next(wiki.paragraphs(stream))
    assert stream.taken <= 2 * wiki.MOST_PAGE

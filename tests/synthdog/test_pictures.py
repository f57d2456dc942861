from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from synthdog import Template, pictures, procedural, settings
from synthdog.errors import ItemError, ResourceError


def encoded(size=(60, 40), kind="JPEG", **how):
    data = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(data, kind, **how)
    return data.getvalue()


def claiming(width, height):
    """A PNG whose header claims a size; its data is that of a small picture."""
    whole = encoded(kind="PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def texture(path, **changes):
    image = {"paths": [str(path)], **changes}
    return settings.load({"background": {"image": image}}, "en").background.image


@pytest.mark.parametrize("kind", ["background", "paper"])
def test_made_up_pictures_differ_and_stay_the_same(kind):
    names = procedural.names(kind)[:: procedural.VARIANTS]
    made = [procedural.picture(name) for name in names]
    assert all(np.array_equal(a, procedural.picture(name)) for a, name in zip(made, names, strict=True))
    assert len({picture.tobytes() for picture in made}) == len(names)
    assert all(picture.std() > 1 for picture in made)


def test_a_folder_and_an_archive_give_the_same_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(kind="PNG"))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(tmp_path / "in" / "a.png", "in/a.png")
        archive.writestr("in/notes.txt", "no picture")
    rng = np.random.default_rng(0)
    for path in (tmp_path / "in", tmp_path / "in.zip"):
        gallery = pictures.gallery(texture(path), "background", 1 << 20)
        assert gallery.picture(gallery.pick(rng)).tolist()[0][0] == [10, 10, 200]


def test_pictures_are_upright():
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    data = io.BytesIO()
    turned.save(data, "JPEG", exif=exif)
    assert pictures.decode(data.getvalue()).shape == (40, 20, 3)


def test_large_pictures_are_kept_small():
    assert max(pictures.decode(encoded((3000, 1000))).shape) == pictures.MAX_SIDE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"),
        (b"<html>no</html>", "not_an_image"),
        (encoded()[:300], "damaged"),
        (claiming(20_000, 3000), "too_many_pixels"),
        (claiming(20_000, 20_000), "too_many_pixels"),
        (encoded(kind="TIFF"), "not_an_image"),
    ],
    ids=["empty", "html", "cut off", "large", "bomb", "tiff"],
)
def test_a_picture_that_cannot_be_used_has_a_reason(data, reason):
    with pytest.raises(ItemError) as caught:
        pictures.decode(data)
    assert caught.value.reason == reason


def test_a_broken_picture_costs_its_own_images_alone(tmp_path, template):
    for number in range(3):
        (tmp_path / f"good{number}.jpg").write_bytes(encoded())
    (tmp_path / "broken.jpg").write_bytes(encoded((800, 600))[:2000])
    image = {"paths": [str(tmp_path)], "weights": [1]}
    template("en")
    rows = Template({"background": {"image": image}}, language="en").generate(1, range(16)).to_pylist()
    dropped = [row for row in rows if row["dropped"]]
    assert {row["dropped"] for row in dropped} == {"damaged"}
    assert 0 < len(dropped) < 12
    assert all(row["image"] for row in rows if not row["dropped"])


def test_a_folder_without_readable_pictures_stops_the_run(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(ResourceError, match="holds no readable picture"):
        pictures.gallery(texture(tmp_path), "background", 0)


def test_an_archive_gives_the_pictures_that_it_holds_whatever_their_order_and_packing(tmp_path):
    kept = {f"b/{side:03d}.jpg": encoded((side, 9)) for side in (7, 3, 12, 5)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, (name, data) in enumerate(kept.items()):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        archive.writestr("b/notes.txt", "none")
    found = pictures.Archive(tmp_path / "a.zip")
    assert list(found.names) == sorted(kept)
    assert found.names[1:3] == sorted(kept)[1:3]
    for name, data in kept.items():
        assert np.array_equal(found.picture(name), pictures.decode(data))


def test_a_broken_archive_stops_the_run(tmp_path):
    (tmp_path / "train2017.zip").write_bytes(b"PK\3\4 torn")
    with pytest.raises(ResourceError, match="cannot be read"):
        pictures.gallery(texture(tmp_path / "train2017.zip"), "background", 0)


def test_few_pictures_are_kept_and_the_last_one_always(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded((100, 100), "PNG"))
    gallery = pictures.gallery(texture(tmp_path), "background", 70_000)
    for number in range(5):
        gallery.picture((0, f"{number}.png"))
    assert [name for _, name in gallery._kept] == ["3.png", "4.png"]


def test_cuts_follow_their_settings(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded((100, 80), "PNG"))
    drawn = texture(tmp_path, grayscale=1, crop=1, alpha=[0.5, 0.5])
    gallery = pictures.gallery(drawn, "paper", 1 << 20)
    cut = pictures.cut(gallery, drawn, np.random.default_rng(4))
    assert cut.pixels.ndim == 2
    assert cut.pixels.shape != (80, 100)
    assert abs(int(cut.laid((30, 20), 255)[0, 0]) - (0.5 * cut.pixels[0, 0] + 0.5 * 255)) <= 1

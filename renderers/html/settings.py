"""The settings of rendering web pages, and the type of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from renderers.setting_ranges import check_ranges

FETCH = "fetch"

NO_RESOURCES: Mapping[str, tuple[str, bytes]] = MappingProxyType({})

RANGES = {
    "widths": (16, 16_384),
    "page_height": (16, 16_384),
    "min_height": (0, 16_384),
    "max_pages": (1, 10_000),
    "scale": (0.1, 8),
    "quality": (1, 100),
    "max_resources": (0, 100_000),
    "max_resource_bytes": (0, 2**40),
    "resources_s": (1e-6, 3600),
    "min_font": (0, 1000),
    "scripts_s": (1e-6, 3600),
    "max_bytes": (1, 2**32),
    "timeout_s": (1e-6, 86_400),
    "start_s": (1e-6, 3600),
    "tabs": (1, 64),
    "recycle_after": (1, 10**9),
    "max_memory": (2**26, 2**50),
}


@dataclass(frozen=True)
class HtmlSettings:
    """Settings of a `Browser`; lengths are CSS pixels, times are seconds.

    Page scripts do not run by default: offline they mostly wait for the network or take the text away, and
    what they leave depends on the clock. `javascript=True` runs them until the page's load event.
    """

    widths: tuple[int, ...] = (1280,)  # one set of page images for each viewport width
    page_height: int = 1280  # the tallest page image; the viewport's height too
    min_height: int = 720  # a shorter page keeps so much of the viewport's height, as a person sees it
    max_pages: int = 20  # page images of one document and width
    scale: float = 1.0  # image pixels a CSS pixel
    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = 90  # JPEG's
    mobile: bool = False  # lay out as a telephone does: set widths = [390], too
    elements: bool = False  # tell each region's element in `extra`: tag, link, heading, cell
    html: bool = False  # tell in `extra` the cleaned HTML of what each image shows
    restyle: bool = False  # lay a page that lost its stylesheets out anew, under a stylesheet drawn by lot
    # fetch: the caller serves what the archive lacks, fonts too
    resources: Literal["archive", "fetch"] = "archive"
    max_resources: int = 200  # images, styles and fonts that one document may have fetched
    max_resource_bytes: int = 64 << 20  # of all of them
    resources_s: float = 10.0  # from the first one on; what is asked for later is refused
    min_font: float = 6.0  # text drawn smaller than this counts as unreadable
    javascript: bool = False
    scripts_s: float = 3.0  # for scripts, where the page never comes to its load event
    max_bytes: int = 5 << 20  # of one document: 20 MB of text hang the layout
    timeout_s: float = 30.0  # for one document and all of its pages
    start_s: float = 30.0  # for the browser to answer
    tabs: int = 3  # documents rendered at the same time
    recycle_after: int = 200  # documents, then a fresh browser
    max_memory: int = 3 << 30  # bytes, of all processes of the browser (proportional set size)
    executable: str | None = None  # else $CURATE_CHROMIUM, else the first of browser.NAMES on the path
    user: str = "nobody"  # whom the browser runs as where this process is root
    allow_unsandboxed: bool = False  # go on where the machine cannot wall the browser in
    chinese_fonts: bool = True  # refuse to start without any

    def __post_init__(self) -> None:
        """Check the settings.

        Raises: ValueError, where a number is out of its range.
        """
        check_ranges(self, RANGES)


@dataclass(frozen=True)
class Document:
    """One web page, as it was fetched or archived.

    `content_type` is the server's header where there was one. `resources` are the images and styles that the
    archive itself holds, by absolute address: (content type, bytes). The mapping may look them up when it is asked,
    from several threads; the page is given nothing else.
    """

    id: str
    content: bytes
    content_type: str | None = None
    url: str | None = None
    resources: Mapping[str, tuple[str, bytes]] = field(default_factory=lambda: NO_RESOURCES)

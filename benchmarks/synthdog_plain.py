"""SynthDoG as plainly as synthtiger lets one write it, after Donut's: the peer of benchmarks/synthdog.py.

Layers, colours, effects, textures and fonts are synthtiger's; characters are drawn one by one and lines break
where the box is full. Its hyperparameters come from synthdog's settings, its text and pictures from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from synthdog import compat
from synthdog.draws import Draw, Strengths
from synthdog.settings import TemplateSettings, Texture

with compat.legacy():
    from synthtiger import components, layers

Box = tuple[float, float, float, float]  # left, top, width, height


class PlainSynthDoG:
    """One image a call, from numpy's global generator."""

    def __init__(
        self, settings: TemplateSettings, text: str, fonts: str, backgrounds: str, papers: str
    ) -> None:
        self.settings, self.text, self.at = settings, text, 0
        self.font = components.BaseFont([fonts], [1], bold=settings.document.content.font.bold)
        self.background = _texture(settings.background.image, backgrounds)
        self.paper = _texture(settings.document.paper, papers)
        blur = settings.background.blur
        self.background_effect = components.Switch(components.GaussianBlur(blur.sigma), blur.prob)
        self.document_effect = self._document_effect()
        self.effect = self._effect()
        content = settings.document.content
        self.line_colour, self.content_colour = (
            components.Switch(components.Gray(ink.gray, colorize=ink.colorize), ink.prob)
            for ink in (content.textbox_color, content.content_color)
        )

    def _document_effect(self) -> Any:
        e = self.settings.document.effect
        ways = [components.Perspective(percents=way) for way in e.perspective.percents]
        return components.Iterator(
            [
                components.Switch(
                    components.ElasticDistortion(e.elastic.alpha, e.elastic.sigma), e.elastic.prob
                ),
                components.Switch(
                    components.AdditiveGaussianNoise(e.noise.scale, e.noise.per_channel), e.noise.prob
                ),
                components.Switch(components.Selector(ways, e.perspective.weights), e.perspective.prob),
            ]
        )

    def _effect(self) -> Any:
        e, shade = self.settings.effect, self.settings.effect.shadow
        shadow = components.Shadow(shade.intensity, shade.amount, shade.smoothing, shade.bidirectional)
        return components.Iterator(
            [
                components.Switch(components.RGB(e.color.rgb, e.color.alpha), e.color.prob),
                components.Switch(shadow, shade.prob),
                components.Switch(components.Contrast(e.contrast.alpha), e.contrast.prob),
                components.Switch(components.Brightness(e.brightness.beta), e.brightness.prob),
                components.Switch(
                    components.MotionBlur(e.motion_blur.k, e.motion_blur.angle), e.motion_blur.prob
                ),
                components.Switch(components.GaussianBlur(e.blur.sigma), e.blur.prob),
            ]
        )

    def generate(self) -> tuple[np.ndarray, list[str], int, Strengths]:
        """The picture (RGB, 8 bit), its lines' texts, the JPEG quality, and what was drawn."""
        s = self.settings
        size = _size(s.landscape, s.short_size, s.aspect_ratio)
        backdrop = layers.RectLayer(size, (255, 255, 255, 255))
        self.background.apply([backdrop])
        drawn = [self.background_effect.apply([backdrop])]
        paper, text_layers, texts, of_document = self._document(size)
        document = layers.Group([*text_layers, paper])
        space = np.clip(size - document.size, 0, None)
        document.left, document.top = (np.random.randint(room + 1) for room in space)
        picture = layers.Group([*document.layers, backdrop]).merge()
        drawn += [*of_document, {"meta": None}, *self.effect.apply([picture])["metas"]]  # null: no rotation
        image = picture.output(bbox=[0, 0, *size])[..., :3].astype(np.uint8)
        quality = np.random.randint(s.quality[0], s.quality[1] + 1)
        return image, texts, quality, Strengths(*(draw["meta"] for draw in drawn))

    def _document(self, size: tuple[int, int]) -> tuple[Any, list[Any], list[str], list[Draw]]:
        d = self.settings.document
        if np.random.rand() >= d.fullscreen:
            wide = np.random.rand() < d.landscape
            longest = size[0] if wide else size[1]
            short = np.random.randint(
                *(min(*size, side) + more for side, more in zip(d.short_size, (0, 1), strict=True))
            )
            ratio = np.random.uniform(*(min(longest / short, ratio) for ratio in d.aspect_ratio))
            size = (int(short * ratio), short) if wide else (short, int(short * ratio))
        text_layers, texts = self._content(size)
        paper = layers.RectLayer(size, (255, 255, 255, 255))
        self.paper.apply([paper])
        drawn = self.document_effect.apply([*text_layers, paper])["metas"]
        return paper, text_layers, texts, drawn

    def _content(self, size: tuple[int, int]) -> tuple[list[Any], list[str]]:
        content = self.settings.document.content
        left, top = (side * np.random.uniform(*content.margin) for side in size)
        area = (left, top, size[0] - 2 * left, size[1] - 2 * top)
        text_layers, texts = [], []
        self.at = np.random.randint(len(self.text))
        for grid in self._stack(area):
            font = self.font.sample()
            for box, align in grid:
                layer, text = self._line(box[2], box[3], font)
                if layer is None:
                    continue
                layer.center = (box[0] + box[2] / 2, box[1] + box[3] / 2)
                if align == "left":
                    layer.left = box[0]
                if align == "right":
                    layer.right = box[0] + box[2]
                self.line_colour.apply([layer])
                text_layers.append(layer)
                texts.append(text)
        self.content_colour.apply(text_layers)
        return text_layers, texts

    def _line(self, width: float, height: float, font: dict[str, Any]) -> tuple[Any, str]:
        fill = np.random.uniform(*self.settings.document.content.textbox.fill)
        width = np.clip(width * fill, height, width)
        chars, left = [], 0.0
        while True:
            char = self.text[self.at]
            layer = layers.TextLayer(char, **{**font, "size": int(height)})
            layer.bbox = [left, 0, *(layer.size * height / layer.height)]
            if layer.right > width:
                break
            self.at = (self.at + 1) % len(self.text)
            chars.append((layer, char))
            left = layer.right
        text = "".join(char for _, char in chars).strip()
        return (layers.Group([layer for layer, _ in chars]).merge(), text) if text else (None, "")

    def _stack(self, area: Box) -> list[list[tuple[Box, str]]]:
        c = self.settings.document.content.layout
        left, top, width, height = area
        side = min(width, height)
        spacing = np.random.uniform(*c.stack_spacing) * side
        stack_fill = 1 if np.random.rand() < c.stack_full else np.random.uniform(*c.stack_fill)
        fill = 1 if np.random.rand() < c.full else np.random.uniform(*c.fill)
        grids: list[list[tuple[Box, str]]] = []
        used = 0.0
        while True:
            text_size = side * np.random.uniform(*c.text_scale)
            room = (left, top + used, width, height * stack_fill - used)
            grid = self._grid(room, text_size, fill)
            if not grid:
                break
            used = max(y + h - top for (_, y, _, h), _ in grid) + spacing
            grids.append(grid)
        gaps = np.random.rand(len(grids) + 1)
        downs = np.cumsum(gaps * max(height - max(used - spacing, 0), 0) / gaps.sum())
        return [
            [((x, y + down, w, h), align) for (x, y, w, h), align in grid]
            for grid, down in zip(grids, downs[:-1], strict=True)
        ]

    def _grid(self, room: Box, text_size: float, fill: float) -> list[tuple[Box, str]]:
        c = self.settings.document.content.layout
        left, top, width, height = room
        for cell in np.random.permutation(c.max_row * c.max_col):
            rows, columns = cell // c.max_col + 1, cell % c.max_col + 1
            if text_size * (columns * 2 - 1) <= width and text_size * rows <= height:
                break
        else:
            return []
        fill = np.clip(fill, 0, max(1 - text_size / width * (columns - 1), 0))
        sides = np.random.randint(4) if columns > 1 else np.random.randint(1, 4)
        weights = np.zeros(columns * 2 + 1)
        weights[1:-1] = text_size / width
        spare = 1 - np.random.rand(columns * 2 + 1)
        spare[0], spare[-1] = spare[0] * (sides // 2), spare[-1] * (sides % 2)
        spare[1::2] *= max(fill - weights[1::2].sum(), 0) / spare[1::2].sum()
        spare[::2] *= max(1 - fill - weights[::2].sum(), 0) / spare[::2].sum()
        xs = left + np.cumsum([0, *(width * (weights + spare))])
        grid = []
        for column in range(columns):
            align = c.align[np.random.randint(len(c.align))]
            x, w = xs[column * 2 + 1], xs[column * 2 + 2] - xs[column * 2 + 1]
            grid += [((x, top + row * text_size, w, text_size), align) for row in range(rows)]
        return grid


def jpeg(image: np.ndarray, quality: int, path: str) -> None:
    """Write the picture as SynthDoG does."""
    Image.fromarray(image).save(path, quality=quality)


def _texture(settings: Texture, folder: str) -> Any:
    return components.BaseTexture([folder], [1], settings.alpha, settings.grayscale, settings.crop)


def _size(landscape: float, short_size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    wide = np.random.rand() < landscape
    short = np.random.randint(short_size[0], short_size[1] + 1)
    long = int(short * np.random.uniform(*ratio))
    return (long, short) if wide else (short, long)

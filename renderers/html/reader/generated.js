// Text that no node of the document holds: list markers, ::before and ::after, quotation marks. The browser says where
// it stands, and where ::before and ::after have their boxes (DOMSnapshot, by html/generated.py), by the number that the
// element was marked with.

const KINDS = ['marker', 'before', 'after'];
const owners = [];

// Numbers every element that may have generated text, or generated content that paints something, and lets that be
// painted as the page wants it.
function markOwners() {
  for (const element of ask('querySelectorAll', '*')) {
    for (const kind of ['before', 'after']) unfix(element, kind);
    const kinds = KINDS.filter((kind) => mayHave(element, kind));
    if (kinds.length === 0 && !mayCover(element)) continue;
    Element.prototype.setAttribute.call(element, MARK, owners.length);
    Element.prototype.setAttribute.call(element, SHOWN, kinds.join(' '));
    owners.push({ element, kinds, found: {}, boxes: {} });
  }
  return owners.length;
}

const covering = new Set(); // elements whose generated content may lie over text, or behind it
const mayCover = (element) => covering.has(element);

// Generated content that lies over others stays where it is at the top of the page, as elements do.
function unfix(element, kind) {
  const { content, position } = getComputedStyle(element, '::' + kind);
  if (content === 'none' || content === 'normal' || position === 'static') return;
  covering.add(element);
  if (position !== 'fixed') return;
  const fixed = Element.prototype.getAttribute.call(element, UNFIXED) ?? '';
  Element.prototype.setAttribute.call(element, UNFIXED, `${fixed} ${kind}`);
}

function mayHave(element, kind) {
  if (kind === 'marker') {
    const { display, listStyleType, listStyleImage } = getComputedStyle(element);
    return display.includes('list-item') && listStyleType !== 'none' && listStyleImage === 'none';
  }
  const { content } = getComputedStyle(element, '::' + kind);
  return content !== 'none' && content !== 'normal' && content !== '""' && /["(]|quote/.test(content);
}

// Takes what the browser told: [owner, kind, text, x, y, width, height] each, px from the document's corner. Without text
// it is the box of the content.
function takeGenerated(told, [left, above]) {
  for (const [number, kind, text, x, y, w, h] of told) {
    const owner = owners[number];
    if (!owner) continue;
    const place = { text, x: x - left, y: y - above, w, h };
    if (text) (owner.found[kind] ??= []).push(place);
    else owner.boxes[kind] ??= place; // empty text in it follows
  }
}

const measurer = new OffscreenCanvas(1, 1).getContext('2d');
function measured(text, style) {
  measurer.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  measurer.letterSpacing = style.letterSpacing === 'normal' ? '0px' : style.letterSpacing;
  return measurer.measureText(text);
}
const widthOf = (text, style) => measured(text, style).width;

// Where the ink of a level line at `y` begins and ends, px, as far as it is within an em of the line's middle; null for
// scripts whose letters and marks keep within their font's box. `size` is the font's on the page.
const MARKED = /[^\u0000-\u017f\u2000-\u206f\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]/;
function inkRows(text, style, { y, h, size }) {
  if (!MARKED.test(text)) return null;
  const { fontBoundingBoxAscent: ascent, actualBoundingBoxAscent: top, actualBoundingBoxDescent: bottom } = measured(text, style);
  const scale = size / parseFloat(style.fontSize), baseline = y + scale * ascent;
  const rows = [baseline - scale * top, baseline + scale * bottom].map((row) => Math.min(Math.max(row, y + h / 2 - size), y + h / 2 + size));
  return rows.every(Number.isFinite) ? rows : null;
}

// Whether generated text goes beyond a box of its own that cuts it off.
function cutOff({ overflowX, overflowY, width, height }, places) {
  if ((overflowX === 'visible' && overflowY === 'visible') || width === 'auto') return false;
  const extent = (side, size) => Math.max(...places.map((place) => place[side] + place[size])) - Math.min(...places.map((place) => place[side]));
  return extent('x', 'w') > parseFloat(width) + 1 || extent('y', 'h') > parseFloat(height) + 3;
}

const ownerOf = (element) => owners[Element.prototype.getAttribute.call(element, MARK) ?? -1];

// What an element's positioned generated content paints at a point of the page, the upper first. `side` is where it lies:
// 'behind' or 'in front' of the element's own text, or 'any'.
function groundsAt(element, { x, y }, side) {
  const boxes = mayCover(element) ? (ownerOf(element)?.boxes ?? {}) : {};
  const holds = (box) => box && x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h;
  const kinds = ['after', 'before'].filter((kind) => holds(boxes[kind]));
  const strengthOf = (style) => styleOf(element).opacity * strength(style);
  return kinds.map((kind) => [boxes[kind], getComputedStyle(element, '::' + kind)]).filter(([, { visibility, position, zIndex }]) =>
    visibility === 'visible' && position !== 'static' && (side === 'any' || (zIndex < 0) === (side === 'behind')))
    .map(([box, style]) => groundAt(groundOf(style, strengthOf(style)), { top: box.y, bottom: box.y + box.h }, y));
}

const SHIFTED = /^(none|matrix\(1, 0, 0, 1, .*\))$/; // by its transform, at most

const DRAWN_MARKER = /^(disc|circle|square|disclosure-open|disclosure-closed)$/;

// The pieces of an element's generated text of one kind.
function* generated(element, kind) {
  const owner = ownerOf(element);
  const style = owner?.found[kind] && getComputedStyle(element, '::' + kind);
  if (!style || style.visibility !== 'visible') return;
  const above = styleOf(element);
  const size = parseFloat(style.fontSize) * zoomOf(element) * (above.scale ?? 0);
  const inside = kind === 'marker' || /^inline/.test(style.display);
  const own = {
    ...above, ink: colour(style.webkitTextFillColor), opacity: above.opacity * strength(style),
    ground: groundOf(style, above.opacity * strength(style)),
    block: inside ? above.block : {}, flow: above.flow, moved: cutOff(style, owner.found[kind]) || !SHIFTED.test(style.transform) || style.rotate !== 'none',
  };
  const drawn = kind === 'marker' && DRAWN_MARKER.test(style.listStyleType); // the browser tells the place without the blank
  for (const place of owner.found[kind]) {
    const blanks = [/^\s*/, /\s*$/].map((blank) => (drawn ? 0 : (above.scale ?? 1) * widthOf(blank.exec(place.text)[0], style)));
    const [lead, trail] = style.direction === 'rtl' ? blanks.reverse() : blanks;
    const { text, y, h } = place;
    const level = own.flow === 'level';
    yield {
      node: element, text, start: 0, end: text.length, generated: { owner, kind }, style: own, size, hyphened: false, drawing: null,
      x: place.x + (level ? lead : 0), w: Math.max(1, place.w - (level ? lead + trail : 0)), y, h,
      astray: Boolean(own.turn) || own.moved, rows: level ? inkRows(text, style, { y, h, size }) : null,
    };
  }
}

// Leaves only those kinds of generated text painted whose pieces all have a label.
function showGenerated(found, without) {
  for (const owner of owners) owner.shown = new Set();
  for (const { generated: made } of found) made?.owner.shown.add(made.kind);
  for (const { generated: made } of without) made?.owner.shown.delete(made.kind);
  for (const { element, shown } of owners) Element.prototype.setAttribute.call(element, SHOWN, [...shown].join(' '));
}

// Which text a person sees where it stands.

// What could cover text: elements that paint a box, in px of the viewport at scroll 0, from the top. The opaque ones hide it.
function findCovers() {
  const found = [];
  for (const element of ask('querySelectorAll', 'body *')) {
    const share = taken(styleOf(element));
    if (share <= 0) continue;
    const { left: x, top: y, right, bottom } = Element.prototype.getBoundingClientRect.call(element);
    if (right - x > 2 && bottom - y > 2) found.push({ element, x, y, right, bottom, opaque: share > 0.5 });
  }
  return found.sort((one, other) => one.y - other.y);
}

// Points an em apart where an element that does not hold the piece stands: it may lie on top. What reaches only into the
// upper edge of the line's box meets no letters.
function doubtful({ node, x, y, w, h, style }, covers) {
  const points = [], top = y + Math.max(2, h * HEADROOM);
  for (const cover of covers) {
    if (cover.y > y + h - 2) break;
    const left = Math.max(x, cover.x), right = Math.min(x + w, cover.right);
    if (!cover.opaque || cover.bottom < top || right - left < 2) continue;
    if (Node.prototype.contains.call(cover.element, node)) continue;
    const middle = (Math.max(y, cover.y) + Math.min(y + h, cover.bottom)) / 2;
    const steps = Math.min(MOST_STEPS, Math.ceil((right - left) / Math.max(style.size, 1)));
    for (let i = 0; i < steps; i++) points.push([left + ((i + 0.5) * (right - left)) / steps, middle]);
    if (points.length > MOST_STEPS) break;
  }
  return points;
}

// Is it the same at every point of the piece what lies over and under it? Then one point tells of all: the browser takes as
// long for each as the page has placed elements.
function isEven({ node, x, y, w, h, style, generated: made }, covers) {
  if (made || style.turn || covering.size > 0 || !isWithin({ x, y, w, h }, clipOf(style.clipper))) return false;
  for (const cover of covers) {
    if (cover.y > y + h) break;
    if (cover.bottom < y || cover.x > x + w || cover.right < x) continue;
    if (!isWithin({ x, y, w, h }, cover) || !Node.prototype.contains.call(cover.element, node)) return false;
  }
  return true;
}

const isWithin = ({ x, y, w, h }, { x: left, y: top, right, bottom }) => x >= left && y >= top && x + w <= right && y + h <= bottom;

// The box that all clippers around an element leave, at scroll 0; an empty one where a shape or a round corner cuts.
const EVERYWHERE = { x: -Infinity, y: -Infinity, right: Infinity, bottom: Infinity };
const NOWHERE = { x: 0, y: 0, right: 0, bottom: 0 };
const openings = new Map(); // of clippers
function clipOf(clipper) {
  if (!clipper) return EVERYWHERE;
  if (!openings.has(clipper)) {
    const above = clipOf(styleOf(parentOf(clipper)).clipper);
    const { left, top, right, bottom } = Element.prototype.getBoundingClientRect.call(clipper);
    const { clientLeft, clientTop, clientWidth, clientHeight } = clipper;
    const { borderRadius, clipPath, clip } = getComputedStyle(clipper);
    const plain = borderRadius === '0px' && clipPath === 'none' && clip === 'auto' && styleOf(clipper).scale === 1 && clientWidth;
    const x = left + clientLeft, y = top + scrolled + clientTop;
    openings.set(clipper, plain ? {
      x: Math.max(above.x, x), y: Math.max(above.y, y),
      right: Math.min(above.right, x + clientWidth), bottom: Math.min(above.bottom, y + clientHeight),
    } : NOWHERE);
  }
  return openings.get(clipper);
}

const HEADROOM = 0.2; // of a line's box, above its capitals
const MOST_STEPS = 100; // points tried in one piece
const view = { width: innerWidth, height: innerHeight };
let scrolled = 0;

// Is this piece readable where it stands: on the page, uncovered, unclipped, unlike its ground?
function readable(piece, covers) {
  const { x, y, w, h, style, size } = piece;
  if (style.opacity < 0.1 || (style.ink && style.ink[3] < 0.1)) return false;
  if (w < 0.5 || h < 0.5 || !style.flat || piece.astray || crowded(piece)) return false;
  const box = boxOf(piece);
  const top = style.turn || style.flow !== 'level' ? box.top : Math.max(box.top, y + h / 2 - size / 2); // of its letters
  if (box.left < -1 || top < -1 || box.right > view.width + 1) return false;
  if (size < minFont) return false;
  if (box.top < scrolled || box.bottom > scrolled + view.height) {
    scrollTo(0, box.top - 1);
    scrolled = scrollY;
  }
  const inset = Math.min(1.5, w / 3);
  const points = [[x + w / 2, y + h / 2], [x + inset, y + h / 4], [x + w - inset, y + (3 * h) / 4]];
  const even = isEven(piece, covers);
  if (!even) points.push(...(style.turn ? along(piece) : doubtful(piece, covers)));
  // a box that no point meets is not painted at all; but generated text may stand beside its own
  let met = Boolean(piece.generated) || (isNeverMet(style) && isLaidOut(piece));
  for (const [across, down] of points) {
    const point = placed(across, down, style);
    const stack = ask('elementsFromPoint', point.x, point.y - scrolled);
    if (!shows(piece, stack, point)) return false;
    met ||= stack.includes(style.box);
    if (even && met) break;
  }
  return met;
}

// Boxes that the browser names at no point though their text is painted: rows with text that is in no cell of theirs, and
// links in the text of drawings.
const ROW = /^table-(row|header-group|footer-group|row-group)$/;
const isNeverMet = ({ box, display }) => ROW.test(display) || (box instanceof SVGAElement && isRun(box));

const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/gu;
const NARROW = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]/gu;

// Do letters stand in each other's place? A style may draw them together, or a font lack the measures for columns.
function crowded({ text, generated: made, w, h, style, size }) {
  if (made) return false;
  const room = (style.flow === 'level' ? w : h) / size; // em
  const count = (script) => text.match(script)?.length ?? 0;
  if (room < 0.15 * text.length && room < 0.15 * count(NARROW)) return true;
  return room < 0.5 * text.length && room < 0.5 * count(WIDE);
}

// A point of a frame on the page, the box around a rect of it there, and that around a piece.
const placed = (x, y, { turn }) => (turn ? turn.to.transformPoint({ x, y }) : { x, y });
function boundsOf(rect, style) {
  if (!style.turn) return rect;
  const { left, top, right, bottom } = rect;
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
  return around(corners.map(([x, y]) => DOMRect.fromRect(placed(x, y, style))));
}
const boxOf = ({ x, y, w, h, style }) => boundsOf(rectAt(x, y, w, h), style);

// A rect as a plain object: the many that are made of pieces need nothing of the browser.
const rectAt = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height, width, height });

// Points an em apart along a turned piece's middle.
function along({ x, y, w, h, style, size }) {
  const steps = Math.min(MOST_STEPS, Math.ceil(Math.max(w, h) / size));
  const shares = Array.from({ length: steps }, (_, i) => (i + 0.5) / steps);
  return shares.map((share) => (style.flow === 'level' ? [x + share * w, y + h / 2] : [x + w / 2, y + share * h]));
}

function shows({ style, generated: made }, stack, point) {
  let at = stack.indexOf(style.box);
  if (at < 0 && (!style.clipper || stack.includes(style.clipper))) { // beyond its block
    at = stack.findIndex((element) => Node.prototype.contains.call(element, style.box));
  }
  if (at < 0) return false; // clipped, or not painted at all
  let through = 1; // the share of the light that what lies on top lets through
  if (!made) for (const ground of groundsAt(style.box, point, 'in front')) through *= 1 - taken(ground);
  for (const element of stack.slice(0, at)) {
    const around = Node.prototype.contains.call(element, style.box); // where its generated content is met, not itself
    const generated = mayCover(element) ? takenByGenerated(element, !around, point.y) : 0;
    const itself = generated || stack.includes(element, at); // met by what it generates, its first letter
    const own = around && itself ? 0 : Math.min(1, taken(groundOver(element, point)));
    through *= (1 - own) * (1 - generated);
  }
  return through > 0.1 && differs(style, groundsOf(style, made, stack.slice(at), point), through);
}

// What an element paints at a point of the page, whose gradient may let more through there than elsewhere.
function groundOver(element, { y }) {
  const style = styleOf(element);
  if (!style.fade) return style;
  const { top, bottom } = Element.prototype.getBoundingClientRect.call(element);
  return groundAt(style, { top: top + scrolled, bottom: bottom + scrolled }, y);
}

// Does the ink, or the outline of the letters, differ from its ground? Ink on a picture is taken to: the pixels are looked
// at later.
function differs({ ink, outline, filtered }, grounds, through) {
  let ground = [0, 0, 0], left = 1; // the share of the light that comes from further below
  for (const { background, picture, opacity, veil, shaded } of grounds) {
    if (picture || veil || shaded || !background || !ink || filtered) return true;
    const share = left * background[3] * opacity;
    ground = ground.map((value, i) => value + share * background[i]);
    left -= share;
    if (left < 0.01) break;
  }
  ground = ground.map((value) => value + left * 255);
  return through * Math.max(contrast(ink ?? [0, 0, 0], ground), outline ? contrast(outline, ground) : 0) >= LEAST;
}

// What is painted behind a text at a point, the uppermost first. What an element generates in front of its own text lies
// behind other generated content, and behind what is positioned within it.
function* groundsOf({ ground, box }, made, below, point) {
  if (ground) yield ground;
  for (const element of below) {
    if (mayCover(element)) yield* groundsAt(element, point, made || isRaised(box, element) ? 'any' : 'behind');
    yield styleOf(element);
  }
}

function isRaised(box, above) {
  for (let element = box; isElement(element) && element !== above; element = parentOf(element)) if (styleOf(element).positioned) return true;
  return false;
}

const LEAST = 24; // of 255 in some channel
const contrast = (ink, ground) => Math.max(...[0, 1, 2].map((i) => Math.abs(ink[i] - ground[i])));

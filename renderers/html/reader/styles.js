// What of an element's style its text's paint and place depend on.

const INLINE = /^(inline|contents|ruby$|math$)/;
const LEVEL = { matrix: new DOMMatrix(), flat: true, scale: 1, turn: null };
const ROOT = { display: 'block', opacity: 1, stance: LEVEL, clipper: null, block: null, box: null, override: null };
const styles = new Map();
const zoomOf = getter(Element.prototype, 'currentCSSZoom');

// The linear part of the transforms of an element and all above; null where they reach into space or follow a path.
function matrixOf(element, style, above) {
  if (style.offsetPath !== 'none') return null;
  if (element instanceof SVGGraphicsElement) return linear(SVGGraphicsElement.prototype.getScreenCTM.call(element) ?? {});
  const parts = [];
  if (style.rotate !== 'none') parts.push(`rotate(${style.rotate})`);
  if (style.scale !== 'none') parts.push(`scale(${style.scale.replaceAll(' ', ', ')})`);
  if (style.transform !== 'none') parts.push(style.transform);
  try {
    return linear(above.multiply(new DOMMatrix(parts.join(' '))));
  } catch { // a rotation about an axis, say
    return null;
  }
}

const linear = ({ a, b, c, d, is2D = true }) => (is2D ? new DOMMatrix([a, b, c, d, 0, 0]) : null); // an SVGMatrix, too

// Whether text in an element may stand otherwise than that around it does.
function moves(element, { display, rotate, scale, transform, offsetPath }) {
  if (element instanceof SVGElement) return element instanceof SVGGraphicsElement && !isRun(element);
  return !/^(inline|contents)$/.test(display) && [rotate, scale, transform, offsetPath].some((value) => value !== 'none');
}

// In a drawing: a part of a text, links included, and whether letters are turned one by one.
const isRun = (element) => element instanceof SVGElement && nameOf(element) !== 'text' && closest(element, 'text') !== null;
const scatters = (element) =>
  element instanceof SVGElement && (nameOf(element) === 'textPath' || Element.prototype.hasAttribute.call(element, 'rotate'));

// How text stands under an element's transforms and all above. `flat`: neither in space nor mirrored; `scale`: its
// least factor. Turned or slanted text is measured in a frame of its own, in which it is level: px as drawn, which
// `turn.to` takes to the page, but for an offset, and `turn.back` from there.
function stanceOf(element, style, above) {
  if (!above.flat) return above;
  if (scatters(element)) return { flat: false };
  if (!moves(element, style)) return above;
  const matrix = matrixOf(element, style, above.matrix);
  if (!matrix) return { flat: false };
  const { a, b, c, d } = matrix;
  const area = a * d - b * c;
  if (!(area > 0)) return { flat: false };
  if (Math.max(Math.abs(b), Math.abs(c)) <= 0.001 && a > 0) return { matrix, flat: true, scale: Math.min(a, d), turn: null };
  const half = (a * a + b * b + c * c + d * d) / 2;
  const scale = Math.sqrt(half - Math.sqrt(Math.max(0, half * half - area * area))); // the smaller singular value
  const to = new DOMMatrix([a, b, c, d, 0, 0].map((value) => value / scale));
  return { matrix, flat: true, scale, turn: { to, back: to.inverse() } };
}

// In a formula: whether an element stands on the line of what is around it, not above or below.
const STACKS = /^(mfrac|munder|mover|munderover|mtable|mtr|mmultiscripts)$/;
const inRow = (element) =>
  element instanceof MathMLElement && nameOf(element) !== 'math' && !STACKS.test(nameOf(parentOf(element)));

const isControl = (element) => nameOf(element) === 'button' || Element.prototype.hasAttribute.call(element, CONTROL);

// Whether a box within a line has several lines of its own.
const BOXED = /^inline-/;
function hasLines(element, style) {
  if (!BOXED.test(style.display)) return false;
  const line = parseFloat(style.lineHeight) || 1.2 * parseFloat(style.fontSize);
  return element.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom) > 1.7 * line;
}

// How much of an element its effects leave to be seen, as far as that can be told without looking at pixels.
function strength(style) {
  if (style.maskImage !== 'none' || style.mixBlendMode !== 'normal' || style.filter.includes('blur(')) return 0;
  const [, faded] = /opacity\(([\d.]+)\)/.exec(style.filter) ?? [];
  return style.opacity * (faded ?? 1);
}

// Whether an element cuts off what goes beyond it; the root and the body leave that to the viewport.
const clips = (element, style) =>
  !/^(html|body)$/.test(nameOf(element)) &&
  (style.overflowX !== 'visible' || style.clipPath !== 'none' || style.clip !== 'auto' || style.contain !== 'none');

// What of an element's style its text's paint and place depend on, inherited through the ancestors.
function styleOf(element) {
  if (!isElement(element)) return ROOT;
  const known = styles.get(element);
  if (known) return known;
  const above = styleOf(parentOf(element));
  const style = getComputedStyle(element);
  const stance = stanceOf(element, style, above.stance);
  const entry = {
    opacity: above.opacity * strength(style),
    stance,
    flat: stance.flat,
    scale: stance.scale,
    turn: stance.turn,
    clipper: clips(element, style) ? element : above.clipper,
    block: above.block && (INLINE.test(style.display) || inRow(element)) && !isControl(element) && !hasLines(element, style) ? above.block : element,
    box: above.box && style.display === 'contents' ? above.box : element,
    display: style.display,
    positioned: style.position !== 'static',
    size: parseFloat(style.fontSize) * zoomOf(element),
    visible: style.visibility === 'visible',
    filtered: above.filtered || style.filter !== 'none',
    ink: inkOf(style),
    outline: outlineOf(style),
    override: overrideOf(style, above),
    flow: flowOf(style),
    transform: style.textTransform,
    language: /^[a-z]{2,3}(-[a-z0-9]+)*$/i.exec(style.webkitLocale.replaceAll('"', ''))?.[0] ?? [],
    background: colour(style.backgroundColor),
    veil: gradientAlpha(style.backgroundImage),
    fade: fadeOf(style),
    picture: paintsPicture(element, style) || style.backdropFilter !== 'none',
    shaded: style.boxShadow.includes('inset'),
  };
  styles.set(element, entry);
  return entry;
}

// Where a line's letters stand: `level`; or in a column, `upright`, on their side (`down`, `up`: the way that they
// are read), or either, by their script (`mixed`).
function flowOf({ writingMode, textOrientation }) {
  if (writingMode === 'horizontal-tb') return 'level';
  if (writingMode.startsWith('sideways')) return writingMode === 'sideways-lr' ? 'up' : 'down';
  return textOrientation === 'sideways' ? 'down' : textOrientation;
}

// What letters are painted with: their outlines, where only those are seen.
function inkOf(style) {
  const fill = colour(style.webkitTextFillColor);
  return fill && fill[3] < 0.1 ? (outlineOf(style) ?? fill) : fill;
}

// What the outlines of letters are painted with; null where nothing is.
function outlineOf({ webkitTextStrokeColor, webkitTextStrokeWidth }) {
  const stroke = parseFloat(webkitTextStrokeWidth) > 0 ? colour(webkitTextStrokeColor) : null;
  return stroke && stroke[3] >= 0.1 ? stroke : null;
}

// The direction that every letter is made to run in, whatever its script; null where none is.
function overrideOf({ unicodeBidi, direction, display }, above) {
  if (unicodeBidi.includes('override')) return direction;
  return unicodeBidi === 'normal' && INLINE.test(display) ? above.override : null;
}

// [red, green, blue, alpha] of any colour; null where it is none that the browser paints: taken as opaque and different.
function colour(text) {
  const parts = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(text);
  return parts ? [+parts[1], +parts[2], +parts[3], parts[4] === undefined ? 1 : +parts[4]] : painted(text);
}

// The same of a colour in another colour space, by painting with it.
const painter = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const paints = new Map();
function painted(text) {
  if (!paints.has(text)) {
    painter.clearRect(0, 0, 1, 1);
    painter.fillStyle = '#010203';
    painter.fillStyle = text;
    painter.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = painter.getImageData(0, 0, 1, 1).data;
    paints.set(text, painter.fillStyle === '#010203' ? null : [red, green, blue, alpha / 255]);
  }
  return paints.get(text);
}

// The alpha of the most opaque colour of a background's gradients; 0 where it has none.
const COLOURS = /(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\([^()]*\)/g;
function gradientAlpha(image) {
  if (!image.includes('gradient(')) return 0;
  return Math.max(...(image.match(COLOURS) ?? ['']).map((stop) => (colour(stop) ?? [0, 0, 0, 1])[3]));
}

// The colours of a gradient that runs straight up or down a whole box, as stops from its top: [[share of the height, alpha],
// …]; null of any other.
const FADE = /^linear-gradient\((?:(to top|to bottom|0deg|180deg), )?((?:rgba?\([^()]*\)(?: [\d.]+%)?(?:, (?!$))?){2,8})\)$/;
function fadeOf(style) {
  const [, way, written] = FADE.exec(style.backgroundImage) ?? [];
  if (!written || style.backgroundSize !== 'auto' || style.backgroundPosition !== '0% 0%') return null;
  const stops = [...written.matchAll(/(rgba?\([^()]*\))(?: ([\d.]+)%)?/g)], last = stops.length - 1;
  if (stops.some(([, , share], i) => share === undefined && i > 0 && i < last)) return null;
  const found = stops.map(([, stop, share], i) => [share === undefined ? i / last : share / 100, colour(stop)?.[3] ?? 1]);
  return way === 'to top' || way === '0deg' ? found.map(([share, alpha]) => [1 - share, alpha]).reverse() : found;
}

// What a ground with such a gradient paints at a height of its box: others keep their most opaque colour.
function groundAt(ground, { top, bottom }, y) {
  if (!ground.fade) return ground;
  const at = Math.min(1, Math.max(0, (y - top) / (bottom - top))), { fade } = ground;
  const next = fade.findIndex(([share]) => share >= at);
  if (next <= 0) return { ...ground, veil: (next === 0 ? fade[0] : fade.at(-1))[1] };
  const [[before, from], [behind, to]] = [fade[next - 1], fade[next]];
  return { ...ground, veil: from + ((to - from) * (at - before)) / (behind - before) };
}

// The share of the light from behind an element that its own background takes.
const taken = ({ picture, background, veil, opacity }) =>
  opacity * (picture || !background ? 1 : 1 - (1 - background[3]) * (1 - veil));

// The same of its ::before and ::after at a height of the page, `whole` for those alone that lie over all of it.
function takenByGenerated(element, whole, y) {
  let through = 1;
  for (const kind of ['::before', '::after']) {
    const style = getComputedStyle(element, kind);
    if (style.content === 'none' || style.content === 'normal' || style.position === 'static') continue;
    if (whole && ![style.top, style.right, style.bottom, style.left].every((side) => side === '0px')) continue;
    const box = ownerOf(element)?.boxes[kind.slice(2)], ground = groundOf(style, styleOf(element).opacity * strength(style));
    through *= 1 - taken(box ? groundAt(ground, { top: box.y, bottom: box.y + box.h }, y) : ground);
  }
  return 1 - through;
}

// What the box of generated content paints behind its text.
const groundOf = (style, opacity) => ({
  opacity, background: colour(style.backgroundColor), veil: gradientAlpha(style.backgroundImage), fade: fadeOf(style),
  picture: style.backgroundImage.includes('url(') || style.backdropFilter !== 'none', shaded: style.boxShadow.includes('inset'),
});

function paintsPicture(element, style) {
  const tag = nameOf(element);
  if (tag === 'img') return style.visibility === 'visible';
  if (element instanceof SVGElement) return !/^(svg|g|a|text|tspan|textPath|foreignObject)$/i.test(tag);
  return /url\("data:/.test(style.backgroundImage) || (served && style.backgroundImage.includes('url('));
}

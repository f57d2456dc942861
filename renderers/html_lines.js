// Runs in an isolated world of the page: its own globals and untouched prototypes. Everything of the document is
// still asked for through the prototypes, because <img name=createRange> shadows document.createRange.
(minFont, maxHeight, served) => {
  'use strict';
  const ask = (name, ...rest) => Document.prototype[name].apply(document, rest);
  const getter = (proto, name) => {
    const { get } = Object.getOwnPropertyDescriptor(proto, name);
    return (object) => get.call(object);
  };
  const parentOf = getter(Node.prototype, 'parentNode');
  const nameOf = getter(Element.prototype, 'localName');
  const own = (name) => getter(Document.prototype, name)(document);
  const isElement = (node) => node instanceof Element;
  const inline = [HTMLElement, SVGElement, MathMLElement].map((kind) => [kind, getter(kind.prototype, 'style')]);

  function force(element, name, value) {
    const [, styleOfKind] = inline.find(([kind]) => element instanceof kind) ?? [];
    styleOfKind?.(element).setProperty(name, value, 'important');
  }

  // Only text that a label can name is painted, and as the document spells it.
  const HOUSE = `
    *, *::before, *::after {
      text-transform: none !important; font-variant-caps: normal !important; hyphens: manual !important;
      text-overflow: clip !important; -webkit-line-clamp: none !important; -webkit-text-security: none !important;
      pointer-events: auto !important; transition: none !important; scroll-behavior: auto !important;
      scroll-snap-type: none !important; scroll-timeline: none !important;
    }
    *::before, *::after, *::marker, input, select, textarea, ::placeholder, ::file-selector-button {
      caret-color: transparent !important; color: transparent !important; -webkit-text-fill-color: transparent !important; text-shadow: none !important;
    }
    iframe, frame, object, embed, video, audio, canvas, marquee { visibility: hidden !important; }
    ::highlight(unlabelled) {
      color: transparent; -webkit-text-fill-color: transparent; -webkit-text-stroke-color: transparent;
      text-shadow: none; text-decoration-color: transparent;
    }`;

  // Brings the page to rest: nothing moves, nothing sticks to the viewport, no broken picture shows its alt text.
  function settle() {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(HOUSE);
    document.adoptedStyleSheets = [sheet]; // not `<style>`: a page's own policy may forbid that
    for (const animation of ask('getAnimations')) {
      try { animation.finish(); } catch { animation.cancel(); } // an endless one cannot be finished
    }
    for (const image of ask('getElementsByTagName', 'img')) {
      if (!image.complete || image.naturalWidth === 0) force(image, 'visibility', 'hidden');
    }
    const changes = []; // made after all reads, so that the layout is computed once
    for (const element of ask('querySelectorAll', '*')) {
      const style = getComputedStyle(element);
      if (style.position === 'fixed') changes.push([element, 'position', 'absolute']);
      if (style.position === 'sticky') changes.push([element, 'position', 'relative'], [element, 'inset', 'auto']);
      if (style.contentVisibility === 'auto') changes.push([element, 'content-visibility', 'visible']);
      if (style.backgroundClip.includes('text')) changes.push(...unclipped(element, style));
    }
    for (const change of changes) force(...change);
    for (const element of ask('querySelectorAll', '[inert]')) Element.prototype.removeAttribute.call(element, 'inert');
  }

  // A background that shows through letters alone is painted whatever the letters' colour: give them its first one.
  function unclipped(element, style) {
    const [ink] = /rgba?\([^)]*\)/.exec(style.backgroundImage) ?? [style.backgroundColor];
    return [[element, 'background', 'none'], [element, '-webkit-text-fill-color', ink]];
  }

  const INLINE = /^(inline|contents|ruby|math$)/;
  const UPRIGHT = /^matrix\(([\d.e-]+), ([\d.e-]+), ([\d.e-]+), ([\d.e-]+), /;
  const ROOT = { opacity: 1, scale: 1, upright: true, clips: false, block: null, box: null };
  const styles = new Map();

  // The factor by which a transform scales text upright, or null where it turns, slants or mirrors it.
  function upright(style) {
    if (style.rotate !== 'none' || style.offsetPath !== 'none') return null;
    if (style.transform === 'none') return 1;
    const parts = UPRIGHT.exec(style.transform);
    const turned = !parts || Math.abs(parts[2]) > 0.001 || Math.abs(parts[3]) > 0.001;
    return turned || parts[1] < 0 || parts[4] < 0 ? null : Math.min(parts[1], parts[4]);
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
    (style.overflowX !== 'visible' || style.clipPath !== 'none' || style.contain !== 'none');

  // What of an element's style its text's paint and place depend on, inherited through the ancestors.
  function styleOf(element) {
    if (!isElement(element)) return ROOT;
    const known = styles.get(element);
    if (known) return known;
    const above = styleOf(parentOf(element));
    const style = getComputedStyle(element);
    const factor = upright(style);
    const entry = {
      opacity: above.opacity * strength(style),
      scale: above.scale * (factor ?? 1),
      upright: above.upright && factor !== null,
      clips: above.clips || clips(element, style),
      block: above.block && INLINE.test(style.display) ? above.block : element,
      box: above.box && style.display === 'contents' ? above.box : element,
      size: parseFloat(style.fontSize),
      visible: style.visibility === 'visible',
      ink: colour(style.webkitTextFillColor),
      shadow: style.textShadow !== 'none',
      vertical: style.writingMode !== 'horizontal-tb',
      background: colour(style.backgroundColor),
      picture: paintsPicture(element, style),
    };
    styles.set(element, entry);
    return entry;
  }

  // [red, green, blue, alpha]; null for colour spaces that are not read: taken as opaque and different.
  function colour(text) {
    const parts = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(text);
    return parts && [+parts[1], +parts[2], +parts[3], parts[4] === undefined ? 1 : +parts[4]];
  }

  function paintsPicture(element, style) {
    const tag = nameOf(element);
    if (tag === 'img') return style.visibility === 'visible';
    if (element instanceof SVGElement) return !/^(svg|g|a|text|tspan|textPath|foreignObject)$/i.test(tag);
    return /gradient\(|url\("(?!https?:)/.test(style.backgroundImage) || (served && style.backgroundImage !== 'none');
  }

  const range = ask('createRange');
  const SOFT_HYPHEN = 0xad;
  const span = (node, start, end) => {
    range.setStart(node, start);
    range.setEnd(node, end);
    // the hyphen drawn at a line's end counts as the place before the next line's first letter, too
    if (node.data.charCodeAt(start - 1) !== SOFT_HYPHEN) return range.getBoundingClientRect();
    const rects = [...range.getClientRects()];
    return around(rects.length > 1 ? rects.slice(1) : rects);
  };

  function around(rects) {
    const [left, top] = ['left', 'top'].map((side) => Math.min(...rects.map((rect) => rect[side])));
    const [right, bottom] = ['right', 'bottom'].map((side) => Math.max(...rects.map((rect) => rect[side])));
    return new DOMRect(left, top, right - left, bottom - top);
  }

  // Cuts a text node where its lines break: [start, end, rect] each, rect in px of the viewport at scroll 0.
  function* pieces(node, vertical) {
    const whole = (range.selectNodeContents(node), range.getClientRects());
    if (whole.length === 0) return;
    const { length } = node;
    if (whole.length === 1) return void (yield [0, length, whole[0]]);
    const deep = (rect) => (vertical ? rect.width : rect.height);
    const limit = 1.4 * deep(whole[0]);
    const fits = (start, end) => deep(span(node, start, end)) <= limit;
    for (let start = 0; start < length; ) {
      let low = start + 1;
      let high = Math.min(length, start + 32);
      while (high < length && fits(start, high)) {
        low = high;
        high = Math.min(length, start + 2 * (high - start));
      }
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (fits(start, middle)) low = middle;
        else high = middle - 1;
      }
      if (low < length && (node.data.charCodeAt(low) & 0xfc00) === 0xdc00) low += 1; // never halve a pair
      const rect = span(node, start, low);
      yield [start, low, rect];
      if (rect.top > maxHeight) return;
      start = low;
    }
  }

  // The rect without the white space at a piece's ends; undefined where there is none, or nothing else.
  function inked(node, start, end) {
    const text = node.data.slice(start, end);
    const from = start + text.length - text.trimStart().length;
    const to = end - text.length + text.trimEnd().length;
    return from < to && to - from < end - start ? span(node, from, to) : undefined;
  }

  // Every piece of text that has a place, in the document's order.
  function collect() {
    const found = [];
    const walker = ask('createTreeWalker', own('documentElement'), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = parentOf(node);
      range.selectNodeContents(node);
      if (range.getClientRects().length === 0) continue;
      const style = styleOf(parent);
      if (!style.visible || style.opacity < 0.1 || (style.ink && style.ink[3] < 0.1)) continue;
      for (const [start, end, rect] of pieces(node, style.vertical)) {
        if (rect.top > maxHeight || !/\S/.test(node.data.slice(start, end)) && rect.width * rect.height === 0) continue;
        const { left: x, top: y, width: w, height: h } = inked(node, start, end) ?? rect;
        // a drawn hyphen cannot be pointed at, but on its own block: where nothing clips, it shows if its word does
        const hyphened = end - start > 1 && node.data.charCodeAt(end - 1) === SOFT_HYPHEN;
        const letters = hyphened && !style.clips ? span(node, start, end - 1) : { x, y, width: w, height: h };
        found.push({ node, start, end, x, y, w, h, style, letters, hyphened });
      }
    }
    return found;
  }

  // What could cover text: elements that paint an opaque box, in px of the viewport at scroll 0, from the top.
  function findCovers() {
    const found = [];
    for (const element of ask('querySelectorAll', 'body *')) {
      const { picture, background, opacity } = styleOf(element);
      if (opacity * (picture || !background ? 1 : background[3]) <= 0.5) continue;
      const { left: x, top: y, right, bottom } = Element.prototype.getBoundingClientRect.call(element);
      if (right - x > 2 && bottom - y > 2) found.push({ element, x, y, right, bottom });
    }
    return found.sort((one, other) => one.y - other.y);
  }

  // Points of the piece's middle, an em apart, where an element that does not hold it stands: it may lie on top.
  function doubtful({ node, x, y, w, h, style }, covers) {
    const points = [];
    for (const cover of covers) {
      if (cover.y > y + h - 2) break;
      const left = Math.max(x, cover.x), right = Math.min(x + w, cover.right);
      if (cover.bottom < y + 2 || right - left < 2) continue;
      if (Node.prototype.contains.call(cover.element, node)) continue;
      const middle = (Math.max(y, cover.y) + Math.min(y + h, cover.bottom)) / 2;
      const steps = Math.min(MOST_STEPS, Math.ceil((right - left) / Math.max(style.size, 1)));
      for (let i = 0; i < steps; i++) points.push([left + ((i + 0.5) * (right - left)) / steps, middle]);
      if (points.length > MOST_STEPS) break;
    }
    return points;
  }

  const MOST_STEPS = 100; // points tried in one piece
  const view = { width: innerWidth, height: innerHeight };
  let scrolled = 0;

  // Is this piece readable where it stands: on the page, uncovered, unclipped, unlike its ground?
  function readable(piece, covers) {
    const { x, y, w, h, style, letters } = piece;
    if (w < 0.5 || h < 0.5) return false;
    if (x < -1 || y < -1 || x + w > view.width + 1 || !style.upright) return false;
    if (style.size * style.scale < minFont) return false;
    if (y < scrolled || y + h > scrolled + view.height) {
      scrollTo(0, y - 1);
      scrolled = scrollY;
    }
    const top = y - scrolled;
    const { x: left, width } = letters;
    const inset = Math.min(1.5, width / 3);
    const points = [[left + inset, top + h / 4], [left + width / 2, top + h / 2], [left + width - inset, top + (3 * h) / 4]];
    points.push(...doubtful(piece, covers).map(([left, height]) => [left, height - scrolled]));
    return points.every(([left, height]) => shows(style, ask('elementsFromPoint', left, height)));
  }

  function shows(style, stack) {
    const at = stack.indexOf(style.box);
    if (at < 0) return false; // clipped, or not painted at all
    for (let i = 0; i < at; i++) {
      const { picture, background, opacity } = styleOf(stack[i]);
      if (opacity * (picture || !background ? 1 : background[3]) > 0.5) return false; // covered
    }
    return style.shadow || differs(style, stack.slice(at));
  }

  // Does the ink differ from the nearest opaque ground? Ink on a picture is taken to.
  function differs(style, below) {
    for (const element of below) {
      const { background, picture, opacity } = styleOf(element);
      if (picture || !background || !style.ink) return true;
      if (background[3] * opacity >= 0.5) return contrast(style.ink, background);
    }
    return contrast(style.ink ?? [0, 0, 0], [255, 255, 255]);
  }

  const contrast = (ink, ground) => Math.max(...[0, 1, 2].map((i) => Math.abs(ink[i] - ground[i]))) >= 24;

  // Joins pieces that stand on one line of one block. Text between two joined pieces keeps its gap as a space.
  function join(found) {
    const lines = [];
    const last = new Map();
    for (const piece of found) {
      const line = last.get(piece.style.block);
      const text = piece.node.data.slice(piece.start, piece.end);
      const gap = line && follows(line, piece);
      const blank = !/\S/.test(text);
      if (gap === undefined || gap === false) {
        if (blank) continue; // no line begins with white space
        const fresh = { ...piece, text, size: piece.style.size * piece.style.scale, pieces: [piece] };
        lines.push(fresh);
        last.set(piece.style.block, fresh);
        continue;
      }
      line.text += gap > 0.2 * line.size ? ' ' + text : text;
      if (!blank) grow(line, piece);
    }
    return lines;
  }

  // The gap in px between a line and the next piece of it, or false where they are not one line.
  function follows(line, piece) {
    const vertical = line.style.vertical;
    if (vertical !== piece.style.vertical) return false;
    const [across, deep, along, long] = vertical ? ['x', 'w', 'y', 'h'] : ['y', 'h', 'x', 'w'];
    const shared = Math.min(line[across] + line[deep], piece[across] + piece[deep]) - Math.max(line[across], piece[across]);
    if (shared < 0.5 * Math.min(line[deep], piece[deep])) return false;
    const gap = Math.max(piece[along] - line[along] - line[long], line[along] - piece[along] - piece[long]);
    return gap < line[deep] && gap;
  }

  function grow(line, piece) {
    const right = Math.max(line.x + line.w, piece.x + piece.w);
    const bottom = Math.max(line.y + line.h, piece.y + piece.h);
    line.x = Math.min(line.x, piece.x);
    line.y = Math.min(line.y, piece.y);
    line.w = right - line.x;
    line.h = bottom - line.y;
    line.size = Math.max(line.size, piece.style.size * piece.style.scale);
    line.pieces.push(piece);
  }

  const still = ({ node, start, end }) =>
    new StaticRange({ startContainer: node, startOffset: start, endContainer: node, endOffset: end });

  settle();
  scrollTo(0, 0);
  const found = collect();
  const seen = [];
  const unread = [];
  const covers = findCovers();
  for (const piece of found) (readable(piece, covers) ? seen : unread).push(piece);
  const lines = join(seen);

  // A highlight leaves a drawn hyphen painted: pieces without a label end in a break that draws none.
  const replaceEnd = ({ node, end }, mark) => CharacterData.prototype.replaceData.call(node, end - 1, 1, mark);
  let undrawn = [];
  function undrawHyphensOf(without) {
    for (const piece of undrawn) replaceEnd(piece, '\u00ad');
    undrawn = without.filter((piece) => piece.hyphened);
    for (const piece of undrawn) replaceEnd(piece, '\u200b');
  }

  // Scrolls to y and leaves unpainted what has no label there; gives the scroll position reached.
  globalThis.show = (y, hidden) => {
    const without = [...unread, ...hidden.flatMap((i) => lines[i].pieces)];
    undrawHyphensOf(without);
    CSS.highlights.set('unlabelled', new Highlight(...without.map(still)));
    scrollTo(0, y);
    return scrollY;
  };
  return {
    title: own('title'),
    height: Math.min(maxHeight, own('documentElement').scrollHeight),
    unread: unread.length,
    lines: lines.map(({ text, x, y, w, h, size, style }) => [text, x, y, w, h, size, style.vertical]),
  };
}

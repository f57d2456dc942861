// Text's places: the rects of its lines, read piece by piece and joined.

const range = ask('createRange');
const SOFT_HYPHEN = 0xad;
function span(text, start, end) {
  const { node } = text;
  range.setStart(node, start);
  range.setEnd(node, end);
  // the hyphen drawn at a line's end counts as the place before the next line's first letter, too
  const hyphened = node.data.charCodeAt(start - 1) === SOFT_HYPHEN;
  if (!hyphened && !text.style.turn) return range.getBoundingClientRect();
  const rects = rectsOf(text);
  return around(hyphened && rects.length > 1 ? rects.slice(1) : rects);
}

// The range's rects, in the frame of their text.
const rectsOf = (text) => [...range.getClientRects()].map((rect) => (text.style.turn ? unturned(rect, text) : rect));

// A text node to be measured. Where it is turned, a caret in it tells how `deep` its lines are across.
function measurable(node, style) {
  const text = { node, style, deep: 0, astray: false };
  if (!style.turn) return text;
  range.setStart(node, Math.max(0, node.data.search(/\S/)));
  range.collapse(true);
  const [, , x, y] = extents(style);
  const caret = range.getClientRects()[0];
  text.deep = caret && (x > y ? caret.width / x : caret.height / y);
  return text;
}

// How far a px along a turned line, and a px across it, reach over the page: [x, y, x, y].
function extents({ turn, flow }) {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => Math.abs(turn.to[name]));
  return flow === 'level' ? [a, b, c, d] : [c, d, a, b];
}

// A turned rect in its own frame. Of it, the page tells the box around it alone; if that is not the one it would have
// by its styles, its text is `astray`.
function unturned(rect, text) {
  const { deep, style } = text;
  const [x, y, acrossX, acrossY] = extents(style);
  const long = x > y ? (rect.width - acrossX * deep) / x : (rect.height - acrossY * deep) / y;
  const wide = x * long + acrossX * deep;
  const high = y * long + acrossY * deep;
  text.astray ||= !(Math.abs(wide - rect.width) < 1 && Math.abs(high - rect.height) < 1);
  const middle = style.turn.back.transformPoint({ x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 });
  const [w, h] = style.flow === 'level' ? [long, deep] : [deep, long];
  return new DOMRect(middle.x - w / 2, middle.y - h / 2, w, h);
}

function around(rects) {
  const [left, top] = ['left', 'top'].map((side) => Math.min(...rects.map((rect) => rect[side])));
  const [right, bottom] = ['right', 'bottom'].map((side) => Math.max(...rects.map((rect) => rect[side])));
  return new DOMRect(left, top, right - left, bottom - top);
}

const deepOf = (rect, { flow }) => (flow === 'level' ? rect.height : rect.width);

// Cuts a text node where its lines break: [start, end, rect] each, rect in px of its frame at scroll 0.
function* pieces(text) {
  const { node, style } = text;
  range.selectNodeContents(node);
  const whole = rectsOf(text);
  if (whole.length === 0) return;
  const { length } = node;
  text.least = Math.min(...whole.map((rect) => deepOf(rect, style))); // a first letter may be of another size
  if (whole.length === 1) return void (yield [0, length, whole[0]]);
  const limit = 1.4 * text.least;
  const fits = (start, end) => deepOf(span(text, start, end), style) <= limit;
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
    const rect = span(text, start, low);
    yield [start, low, rect];
    if (boundsOf(rect, style).top > maxHeight) return;
    start = low;
  }
}

// The rect without the white space at a piece's ends; undefined where there is none, or nothing else.
function inked(text, start, end) {
  const letters = text.node.data.slice(start, end);
  const from = start + letters.length - letters.trimStart().length;
  const to = end - letters.length + letters.trimEnd().length;
  return from < to && to - from < end - start ? span(text, from, to) : undefined;
}

// Every piece of text that has a place, in the document's order.
function collect() {
  const found = [];
  for (const [node, leaves] of walk(own('documentElement'))) {
    if (isElement(node)) {
      const kinds = leaves ? ['after'] : ['marker', 'before'];
      for (const kind of kinds) for (const piece of generated(node, kind)) if (piece.y <= maxHeight) found.push(piece);
    } else found.push(...piecesOf(node));
  }
  return found;
}

function piecesOf(node) {
  const found = [];
  const parent = parentOf(node);
  range.selectNodeContents(node);
  if (range.getClientRects().length === 0) return found;
  const style = styleOf(parent);
  if (!style.visible) return found;
  const text = measurable(node, style);
  text.astray = scrambled(node, parent, style);
  const drawing = parent instanceof SVGElement ? parent : null; // its text is painted by no highlight: wholly or not
  for (const [start, end, rect] of pieces(text)) {
    if (boundsOf(rect, style).top > maxHeight || !/\S/.test(node.data.slice(start, end)) && rect.width * rect.height === 0) continue;
    const { left: x, top: y, width: w, height: h } = inked(text, start, end) ?? rect;
    const hyphened = end - start > 1 && node.data.charCodeAt(end - 1) === SOFT_HYPHEN;
    const size = (style.size * style.scale * deepOf(rect, style)) / text.least;
    const letters = spelt(node, start, end, style);
    found.push({
      node, start, end, x, y, w, h, style, size, hyphened, drawing, astray: text.astray, text: letters,
      formula: Element.prototype.closest.call(parent, 'math'),
      rows: style.flow === 'level' ? inkRows(letters, getComputedStyle(parent), { y, h, size }) : null,
    });
  }
  return found;
}

// A piece whose beginning or end a box around it, or the page's edge, cuts off: what is seen of it, and the rest; null for
// others.
const LEAST_SEEN = 2; // em: less is taken for nothing
function cutAtEdge(piece) {
  const { node, start, end, x, w, size, style, text } = piece;
  const leftwards = RIGHT_TO_LEFT.test(text); // it begins at its right
  if (piece.generated || piece.drawing || piece.formula || style.turn || style.flow !== 'level' || leftwards && LEFT_TO_RIGHT.test(text)) return null;
  const edges = edgesOf(style.clipper), [left, right] = [Math.max(x, edges.left), Math.min(x + w, edges.right)];
  if (right - left === w || right - left < LEAST_SEEN * size) return null;
  const places = [...letters.segment(node.data.slice(start, end))].map(({ index }) => start + index).concat(end);
  const rectOf = (from, to) => inked({ node, style }, from, to) ?? span({ node, style }, from, to);
  const within = (rect, side) => (side === 'left' ? rect.left >= edges.left : rect.right <= edges.right);
  const [first, last] = leftwards ? ['right', 'left'] : ['left', 'right'];
  const begins = leastOf(places.length - 1, (i) => within(rectOf(places[i], end), first));
  const ends = places.length - 1 - leastOf(places.length - 1, (i) => within(rectOf(start, places.at(-1 - i)), last));
  if (begins >= ends || (begins === 0 && ends === places.length - 1)) return null;
  const part = (from, to) => ({ ...piece, start: from, end: to, text: spelt(node, from, to, style), opens: from === start ? piece.opens : [], hyphened: piece.hyphened && to === end });
  const [from, to] = [places[begins], places[ends]];
  const { left: seenLeft, right: seenRight } = rectOf(from, to);
  const seen = { ...part(from, to), x: seenLeft, w: seenRight - seenLeft };
  return { seen, rest: [[start, from], [to, end]].filter(([one, other]) => one < other).map((ends) => part(...ends)) };
}

// The least of the numbers from 0 up to `most` for which `holds`, which holds for all greater ones too; `most` if none.
function leastOf(most, holds) {
  let low = 0, high = most;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Between which edges the boxes that clip an element's content let it be seen.
function edgesOf(clipper) {
  const edges = { left: 0, right: view.width };
  for (let element = clipper; element; element = styleOf(parentOf(element)).clipper) {
    const { left, right } = Element.prototype.getBoundingClientRect.call(element);
    const { clientLeft, clientWidth } = element; // 0 of an inline element, which clips nothing
    const known = clientWidth && styleOf(element).scale === 1;
    edges.left = Math.max(edges.left, known ? left + clientLeft : left);
    edges.right = Math.min(edges.right, known ? left + clientLeft + clientWidth : right);
  }
  return edges;
}

// The pieces that can be read, and those that cannot.
function parted(pieces) {
  const covers = findCovers(), found = [], unread = new Set();
  for (const piece of pieces) {
    const cut = readable(piece, covers) ? { seen: piece, rest: [] } : cutAtEdge(piece);
    const { seen, rest } = cut && (cut.seen === piece || readable(cut.seen, covers)) ? cut : { seen: null, rest: [piece] };
    found.push(...(seen ? [seen] : []), ...rest);
    for (const one of rest) unread.add(one);
  }
  return [found, unread];
}

// A stretch of a text as its style spells it.
function spelt(node, start, end, { transform, language, override }) {
  const written = node.data.slice(start, end);
  const text = override && RIGHT_TO_LEFT.test(written) === (override === 'ltr') ? mirrored(written) : written;
  if (/uppercase/.test(transform)) return text.toLocaleUpperCase(language);
  if (/lowercase/.test(transform)) return text.toLocaleLowerCase(language);
  if (!/capitalize/.test(transform)) return text;
  return text.replace(/[\p{L}\p{N}][\p{L}\p{N}\p{M}'’]*/gu, (word, at) => {
    const within = at === 0 && start > 0 && /[\p{L}\p{N}'’]/u.test(node.data[start - 1]);
    return within ? word : word.replace(/^./u, (letter) => letter.toLocaleUpperCase(language));
  });
}

// Letters that are made to run against their script's direction are read from their other end.
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const LEFT_TO_RIGHT = /[A-Za-z\u00c0-\u04ff]/;
const letters = new Intl.Segmenter('en');
const mirrored = (text) => [...letters.segment(text)].map(({ segment }) => segment).reverse().join('');

// Text whose letters run in both directions against their scripts', or change it within: no label tells what is seen.
const DIRECTION_FORCED = /[\u202d\u202e]/;
function scrambled({ data }, element, { override }) {
  if (DIRECTION_FORCED.test(data)) return true;
  return Boolean(override) && /\p{L}/u.test(data) && (Element.prototype.querySelector.call(element, ':not(br)') !== null ||
    RIGHT_TO_LEFT.test(data) && LEFT_TO_RIGHT.test(data));
}

// Joins pieces that stand on one line of one block. Text between two joined pieces keeps its gap as a space.
function join(found) {
  const lines = [];
  const last = new Map();
  for (const piece of found) {
    const { formula } = piece; // what it has above or below the line parts the text around it
    if (formula && piece.style.block !== styleOf(formula).block) last.delete(styleOf(formula).block);
    const line = last.get(piece.style.block);
    const { text } = piece;
    const gap = line && follows(line, piece);
    const blank = !/\S/.test(text);
    if (gap === undefined || gap === false) {
      if (blank) { // no line begins with white space
        if (line) line.spaced = true; // but it may part what is of another size
        continue;
      }
      const fresh = { ...piece, text, pieces: [piece] };
      if (isInitialOf(lines.at(-1), piece)) startWith(lines.pop(), fresh);
      lines.push(fresh);
      last.set(piece.style.block, fresh);
      continue;
    }
    line.text += gap > 0.2 * line.size || (line.spaced && gap > 0.05 * line.size) ? ' ' + text : text;
    line.spaced = false;
    if (!blank) grow(line, piece);
  }
  return lines;
}

// The gap in px between a line and the next piece of it, or false where they are not one line.
function follows(line, piece) {
  const { flow, turn } = line.style;
  if (flow !== piece.style.flow || turn !== piece.style.turn) return false;
  const [across, deep, along, long] = flow === 'level' ? ['y', 'h', 'x', 'w'] : ['x', 'w', 'y', 'h'];
  const shared = Math.min(line[across] + line[deep], piece[across] + piece[deep]) - Math.max(line[across], piece[across]);
  if (shared < 0.5 * Math.min(line[deep], piece[deep])) return false;
  if (line[deep] > 2 * piece[deep] || piece[deep] > 2 * line[deep]) return false; // a letter beside several lines
  const gap = Math.max(piece[along] - line[along] - line[long], line[along] - piece[along] - piece[long]);
  const last = line.pieces.at(-1), shorter = Math.min(last[long], piece[long]);
  const over = Math.min(last[along] + last[long], piece[along] + piece[long]) - Math.max(last[along], piece[along]);
  const mixed = line.formula || RIGHT_TO_LEFT.test(line.text + piece.text); // the boxes around its pieces may overlap
  if (over > 0.3 * shorter && over > 0.3 * line.size && !mixed) return false; // written over each other
  return gap < line[deep] && gap;
}

function grow(line, piece) {
  const right = Math.max(line.x + line.w, piece.x + piece.w);
  const bottom = Math.max(line.y + line.h, piece.y + piece.h);
  line.x = Math.min(line.x, piece.x);
  line.y = Math.min(line.y, piece.y);
  line.w = right - line.x;
  line.h = bottom - line.y;
  line.size = Math.max(line.size, piece.size);
  if (piece.rows) line.rows = [Math.min(piece.rows[0], line.rows?.[0] ?? Infinity), Math.max(piece.rows[1], line.rows?.[1] ?? -Infinity)];
  line.pieces.push(piece);
}

// How far the document reaches to the left of what a reader first sees, and above it: right-to-left and vertical pages
// go on there.
function before() {
  scrollTo(-1e9, -1e9);
  const found = [-scrollX, -scrollY];
  scrollTo(0, 0);
  return found;
}

// What element a line stands in, of its first piece: its tag, and what that means to a reader.
const closest = (element, selector) => Element.prototype.closest.call(element, selector);
function elementOf({ pieces: [{ node, generated: made }] }) {
  const element = isElement(node) ? node : parentOf(node);
  const found = { tag: nameOf(element) };
  const link = closest(element, 'a[href]'), heading = closest(element, 'h1, h2, h3, h4, h5, h6');
  if (link instanceof HTMLAnchorElement) found.link = getter(HTMLAnchorElement.prototype, 'href')(link).slice(0, 2048);
  if (heading) found.heading = +nameOf(heading)[1];
  if (closest(element, `button, [${CONTROL}]`)) found.control = true;
  if (closest(element, 'td, th')) found.cell = true;
  if (closest(element, 'li')) found.item = true;
  if (made) found.generated = made.kind;
  return found;
}

let origin = [0, 0];

// Brings the page to rest; gives how many elements may have generated text.
globalThis.prepare = () => {
  settle();
  origin = before();
  return markOwners();
};

// Reads the page, and leaves `show` to take its pictures by. `told` is what the browser says of generated text.
globalThis.readPage = (told) => {
  takeGenerated(told, origin);
  const pieces = collect();
  noteOpenings(pieces);
  const [found, unread] = parted(pieces);
  for (const whole of ['drawing', 'formula']) { // which are read whole or not at all
    const halved = new Set([...unread].map((piece) => piece[whole]));
    for (const piece of found) if (piece[whole] && halved.has(piece[whole])) unread.add(piece);
  }
  const lines = join(inReadingOrder(found.filter((piece) => !unread.has(piece))));
  const formulas = [...new Set(found.map(({ formula }) => formula).filter(Boolean))];

  // Scrolls to y and leaves unpainted what has no label there; gives the scroll position reached.
  globalThis.show = (y, hidden) => {
    const without = [...unread, ...hidden.flatMap((i) => lines[i].pieces)];
    undrawHyphensOf(without);
    CSS.highlights.set('unlabelled', new Highlight(...without.filter((piece) => !piece.generated).map(still)));
    hideFirstLettersOf(without);
    for (const { drawing } of found) if (drawing) force(drawing, 'visibility', 'visible');
    for (const { drawing } of without) if (drawing) force(drawing, 'visibility', 'hidden');
    for (const formula of formulas) force(formula, 'visibility', 'visible');
    for (const { formula } of without) if (formula) force(formula, 'visibility', 'hidden');
    showGenerated(found, without);
    scrollTo(0, y);
    return scrollY;
  };
  globalThis.cleaned = (numbers) => cleanedHtml(numbers.flatMap((i) => lines[i].pieces));
  const formulaOf = ({ pieces }) => formulas.indexOf(pieces.find(({ formula }) => formula)?.formula);
  return {
    title: own('title'),
    height: Math.min(maxHeight, own('documentElement').scrollHeight),
    unread: unread.size,
    origin,
    facts,
    lines: lines.map((line) => [
      line.text, line.x, line.y, line.w, line.h, line.size, line.style.flow, line.style.turn && numbers(line.style.turn.to),
      formulaOf(line), elementOf(line), line.rows, line.reach ?? null,
    ]),
    beyond: Math.max(0, own('documentElement').scrollHeight - maxHeight),
  };
};

const numbers = ({ a, b, c, d }) => [a, b, c, d];
const still = ({ node, start, end }) =>
  new StaticRange({ startContainer: node, startOffset: start, endContainer: node, endOffset: end });

// A highlight leaves a drawn hyphen painted: pieces without a label end in a break that draws none.
const replaceEnd = ({ node, end }, mark) => CharacterData.prototype.replaceData.call(node, end - 1, 1, mark);
let undrawn = [];
function undrawHyphensOf(without) {
  for (const piece of undrawn) replaceEnd(piece, '\u00ad');
  undrawn = without.filter((piece) => piece.hyphened);
  for (const piece of undrawn) replaceEnd(piece, '\u200b');
}

// The order in which the pieces of a page are read. It is the document's, but for what the page shows elsewhere: the
// parts of one element are put in the order of their places where a later part stands above an earlier one, or before
// it on the same row.

const firstOf = getter(Node.prototype, 'firstChild'), nextOf = getter(Node.prototype, 'nextSibling');
const childNodesOf = getter(Node.prototype, 'childNodes');
const MOST_COMPARED = 2_000_000; // pairs of parts of one page; then the document's order stays
let compared = 0;

// Elements as they are entered and left, and texts between, in the document's order, but for the summary of a `details`,
// which the browser puts before the rest: [node, whether it is left].
function* walk(root) {
  const { nodeType } = Object.getOwnPropertyDescriptors(Node.prototype);
  const following = new Map(); // of the children of a `details`
  const next = (node) => (following.has(node) ? following.get(node) : nextOf(node));
  for (let node = root; node; ) {
    const text = nodeType.get.call(node) === Node.TEXT_NODE;
    if (text || isElement(node)) yield [node, false];
    const parts = isElement(node) && nameOf(node) === 'details' ? summaryFirst([...childNodesOf(node)]) : null;
    parts?.forEach((part, i) => following.set(part, parts[i + 1] ?? null));
    const inner = text ? null : parts ? parts[0] : firstOf(node);
    if (inner) {
      node = inner;
      continue;
    }
    while (node && (isElement(node) && (yield [node, true]), node !== root && !next(node))) node = parentOf(node);
    node = node === root ? null : next(node);
  }
}

function summaryFirst(parts) {
  const at = parts.findIndex(isSummary);
  return at < 0 ? null : [parts[at], ...parts.slice(0, at), ...parts.slice(at + 1)];
}

// The pieces, which come in the document's order, as they are read.
function inReadingOrder(found) {
  const branches = new Map();
  const root = branchOf(own('documentElement'), branches);
  for (const piece of found) addLeaf(piece, branches);
  measure(root);
  for (const branch of [...branches.values()].filter(({ kind }) => kind === 'lifted').slice(0, MOST_LIFTED)) lift(branch);
  const read = [];
  const add = (item) => (item.piece ? read.push(item.piece) : orderedParts(item).forEach((part) => part.items.forEach(add)));
  add(root);
  return read;
}

// A branch is an element with the branches and leaves in it. A leaf is a piece. Both have a `kind`: how they take part
// in the layout around them: `inline`, `block`, `float`, `lifted` (positioned absolutely), `contents` (no box of its
// own), `marker`. `ink` is the rect around their pieces without those of lifted branches in it; null where there are
// none. `whole` is the rect around all of them, `line` the height of the tallest piece in px, `pieces` their number and
// `fromRight` that of those in a right-to-left script. `flows` says whether some piece is part of the flow around.
function branchOf(element, branches) {
  const known = branches.get(element);
  if (known) return known;
  const style = getComputedStyle(element), parent = parentOf(element);
  const above = isElement(parent) ? branchOf(parent, branches) : null;
  const { display, positioned } = styleOf(element); // asked for once: what the browser computes is dear
  const kind = kindOf({ display, cssFloat: style.cssFloat, position: positioned ? style.position : 'static' }, above);
  const flexDirection = display.includes('flex') ? style.flexDirection : null;
  const layout = { items: ITEMS.test(display), flexDirection, direction: style.direction };
  const branch = { element, layout, above, kind, items: [], ink: null, whole: null, line: 0, flows: false, pieces: 0, fromRight: 0 };
  branches.set(element, branch);
  above?.items.push(branch);
  return branch;
}

const ITEMS = /flex|grid/;
function kindOf({ position, cssFloat, display }, above) {
  if (/absolute|fixed/.test(position)) return 'lifted';
  if (cssFloat !== 'none' && !above?.layout.items) return 'float';
  if (display === 'contents') return display;
  return /^(inline|ruby|math)/.test(display) ? 'inline' : 'block';
}

function addLeaf(piece, branches) {
  const { node, generated: made, text } = piece;
  const above = branchOf(made ? node : parentOf(node), branches);
  const rect = boxOf(piece);
  const kind = !made ? 'inline' : made.kind === 'marker' ? 'marker' : kindOf(getComputedStyle(node, '::' + made.kind), above);
  const fromRight = RIGHT_TO_LEFT.test(text) ? 1 : 0;
  above.items.push({ piece, kind, ink: rect, whole: rect, line: rect.height, flows: !OUTSIDE.test(kind), pieces: 1, fromRight });
}

// Sums up in a branch what its items are.
const OUTSIDE = /float|lifted/; // of the flow
function measure(branch) {
  for (const item of branch.items) {
    if (!item.piece) measure(item);
    branch.whole = united(branch.whole, item.whole);
    if (item.kind !== 'lifted') branch.ink = united(branch.ink, item.ink);
    branch.line = Math.max(branch.line, item.line);
    branch.flows ||= item.flows && !OUTSIDE.test(branch.kind);
    branch.pieces += item.pieces;
    branch.fromRight += item.fromRight;
  }
}

function united(one, other) {
  if (!one || !other) return one ?? other;
  const left = Math.min(one.left, other.left), top = Math.min(one.top, other.top);
  return rectAt(left, top, Math.max(one.right, other.right) - left, Math.max(one.bottom, other.bottom) - top);
}

const rectOf = ({ ink, whole }) => ink ?? whole;

// Takes a lifted branch out of the element that it is written in, as far up as it is seen before or behind what stands
// there, though never out of what it is positioned in.
const MOST_LIFTED = 200; // of one page
const holderOf = getter(HTMLElement.prototype, 'offsetParent');
function lift(branch) {
  const holder = branch.element instanceof HTMLElement ? holderOf(branch.element) : null;
  let place = null;
  for (let child = branch, level = branch.above; level; child = level, level = level.above) {
    const at = level.items.indexOf(child);
    const fits = child !== branch && child.ink && !keepsOrder(level);
    if (fits && level.items.some((item, i) => i !== at && (i < at ? overtakes(branch, item, level) : overtakes(item, branch, level)))) {
      place = [level, child];
    }
    if (level.element === holder) break;
  }
  if (!place) return;
  const [level, child] = place;
  branch.above.items.splice(branch.above.items.indexOf(branch), 1);
  level.items.splice(level.items.indexOf(child) + 1, 0, branch);
}

// Where places say nothing of the order: in drawings and formulas, in columns of writing, on turned ground.
function keepsOrder({ element }) {
  const { flow, turn } = styleOf(element);
  return !(element instanceof HTMLElement) || flow !== 'level' || Boolean(turn);
}

// What an element's items make up for a reader, in the order that it is read.
function orderedParts(branch) {
  const parts = partsOf(branch);
  if (parts.length < 2 || keepsOrder(branch)) return parts;
  const { layout } = branch;
  if (layout.items) {
    const number = ({ element }) => (element ? +getComputedStyle(element).order : 0);
    parts.sort((one, other) => number(one) - number(other));
    if (layout.flexDirection?.includes('reverse')) parts.reverse();
  }
  return asSeen(parts, branch);
}

// Text and inline elements that follow each other are one part, every other item is one of its own.
function partsOf({ items }) {
  const parts = [];
  const unwrapped = (item) => (item.kind === 'contents' ? item.items.flatMap(unwrapped) : [item]);
  for (const item of items.flatMap(unwrapped)) {
    const last = parts.at(-1), made = item.piece?.generated;
    const goesOn = last?.kind === item.kind && (item.kind === 'inline' || (made && last.made === made.kind));
    if (goesOn) {
      last.items.push(item);
      if (item.whole) Object.assign(last, { ink: united(last.ink, rectOf(item)), line: Math.max(last.line, item.line) });
      last.flows ||= item.flows;
    } else if (item.whole) {
      const { kind, line, flows, element } = item;
      parts.push({ items: [item], kind, ink: rectOf(item), whole: null, line, flows, element: kind === 'inline' ? null : element, made: made?.kind });
    }
  }
  return parts;
}

// The parts of an element, put in order within each stretch of them in which one overtakes another.
function asSeen(parts, branch) {
  const starts = parts.map((_, i) => i); // where the stretch begins that reaches to each part
  let lowest = -Infinity, any = false;
  for (const [i, part] of parts.entries()) {
    const { top, bottom } = placeOf(part, branch);
    let start = top < lowest ? 0 : i;
    while (start < i && !overtakes(part, parts[start], branch) && compared < MOST_COMPARED) start += 1;
    if (start < i && compared < MOST_COMPARED) [starts[i], any] = [start, true];
    lowest = Math.max(lowest, bottom);
  }
  if (!any) return parts;
  const found = [];
  for (let end = parts.length - 1; end >= 0; ) {
    let start = end;
    for (let i = end; i >= start; i--) start = Math.min(start, starts[i]);
    found.unshift(...sorted(parts.slice(start, end + 1), branch));
    end = start - 1;
  }
  return found;
}

// Each time the first part of those before which no other is read; in a grid or row the topmost one.
const MOST_SORTED = 1500; // parts
function sorted(parts, branch) {
  if (parts.length < 2 || parts.length > MOST_SORTED) return parts;
  const waits = parts.map(() => 0), followers = parts.map(() => []);
  const follow = (first, second) => (followers[first].push(second), (waits[second] += 1));
  for (let j = 1; j < parts.length; j++) {
    for (let i = 0; i < j; i++) {
      if (overtakes(parts[j], parts[i], branch)) follow(j, i);
      else if (comesFirst(parts[i], parts[j], branch)) follow(i, j);
    }
  }
  const left = new Set(parts.keys()), found = [];
  while (left.size) {
    const free = [...left].filter((i) => waits[i] === 0);
    const top = (i) => (branch.layout.items ? placeOf(parts[i], branch).top : 0);
    const next = free.reduce((one, other) => (top(other) < top(one) ? other : one), free[0] ?? [...left][0]);
    left.delete(next);
    found.push(parts[next]);
    for (const i of followers[next]) waits[i] -= 1;
  }
  return found;
}

// The rect by which a part is put in order: in a row or grid its box, which has the height of its row, else its ink.
function placeOf(part, { layout }) {
  if (part.piece || !part.element || part.kind === 'lifted' || !layout.items) return rectOf(part);
  return (part.box ??= Element.prototype.getBoundingClientRect.call(part.element));
}

const sharedBetween = (one, other, start, end) => Math.min(one[end], other[end]) - Math.max(one[start], other[start]);

// Whether one part stands above another, or before it on the same row.
function comesFirst(one, other, branch) {
  const [first, second] = [placeOf(one, branch), placeOf(other, branch)];
  const least = Math.min(first.height, second.height);
  if (sharedBetween(first, second, 'left', 'right') > 1) return first.bottom <= second.top + Math.min(8, least / 4);
  if (!(isFromRight(branch) ? first.left >= second.right - 1 : first.right <= second.left + 1)) return false;
  if (sharedBetween(first, second, 'top', 'bottom') <= least / 2) return false;
  return branch.layout.items || first.top <= second.top + Math.max(1.5 * other.line, least / 4);
}

const isFromRight = ({ layout, pieces, fromRight }) => layout.direction === 'rtl' || 2 * fromRight > pieces;

// Whether a part that the document has later is read before an earlier one.
const SHORT = 2.5; // lines: such a part is read with the row that it stands in
function overtakes(later, earlier, branch) {
  if (++compared > MOST_COMPARED || !later.whole && !later.ink || !earlier.whole && !earlier.ink) return false;
  if (earlier.kind === 'marker' || later.kind === 'marker' || (earlier.kind === 'inline' && later.kind === 'inline')) return false;
  const [first, second] = [placeOf(later, branch), placeOf(earlier, branch)];
  const above = first.bottom <= second.top + 8;
  const short = second.height <= SHORT * earlier.line;
  const besides = !branch.layout.items && !above;
  if (besides && short && first.height > 4 * second.height) return false; // something beside a whole column's beginning
  if (comesFirst(later, earlier, branch)) {
    return !besides || short || !flowsAround(later, second) || earlier.flows || first.bottom >= second.bottom - earlier.line / 2;
  }
  return besides && short && !earlier.flows && later.flows && isBesideRow(later, second, branch);
}

// Whether a part's lines give way to a float: they would fill the place where it stands.
function flowsAround(part, rect) {
  if (!part.flows || part.kind === 'lifted') return false;
  return !part.element || sharedBetween(Element.prototype.getBoundingClientRect.call(part.element), rect, 'left', 'right') > 1;
}

// Whether of a part's pieces those on the row of a rect stand before it.
function isBesideRow(part, rect, branch) {
  const rects = [];
  const gather = (item) => (item.piece ? rects.push(item.whole) : item.items.forEach(gather));
  gather(part);
  const level = rects.filter((one) => sharedBetween(one, rect, 'top', 'bottom') > Math.min(one.height, rect.height) / 2);
  const before = (one) => (isFromRight(branch) ? one.left >= rect.right - 1 : one.right <= rect.left + 1);
  return level.length > 0 && level.every(before);
}

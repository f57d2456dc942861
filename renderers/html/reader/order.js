// The order in which a page's nodes are read: the document's, but for what its styles put elsewhere in a row or grid,
// and the summary of a `details`, which stands above the rest wherever it is written.

const firstOf = getter(Node.prototype, 'firstChild'), nextOf = getter(Node.prototype, 'nextSibling');
const childNodesOf = getter(Node.prototype, 'childNodes');
const PLACED = /(row|column)-reverse/;
const MOST_PLACED = 60; // parts of a grid: beyond, they stay in the document's order

// The children of an element in the order that they are seen; null where that is the document's.
function arranged(element) {
  if (nameOf(element) === 'details') return summaryFirst([...childNodesOf(element)]);
  const { display, flexDirection, direction } = getComputedStyle(element);
  if (!/flex|grid/.test(display)) return null;
  const parts = [...childNodesOf(element)];
  const styles = new Map(parts.filter(isElement).map((part) => [part, getComputedStyle(part)]));
  const number = (part) => +(styles.get(part)?.order ?? 0);
  const reversed = /flex/.test(display) && PLACED.test(flexDirection);
  const placed = /grid/.test(display) && styles.size <= MOST_PLACED &&
    [...styles.values()].some(({ gridRowStart, gridColumnStart }) => gridRowStart !== 'auto' || gridColumnStart !== 'auto');
  if (!reversed && !placed && !parts.some(number)) return null;
  parts.sort((one, other) => number(one) - number(other));
  if (reversed) parts.reverse();
  return placed ? asPlaced(parts, direction) : parts;
}

function summaryFirst(parts) {
  const at = parts.findIndex(isSummary);
  return at < 0 ? null : [parts[at], ...parts.slice(0, at), ...parts.slice(at + 1)];
}

// The parts of a grid by rows, where one stands wholly above or before another that the document has first.
function asPlaced(parts, direction) {
  const rects = new Map(parts.filter(isElement).map((part) => [part, Element.prototype.getBoundingClientRect.call(part)]));
  const meet = (one, other, start, end) => Math.min(one[end], other[end]) - Math.max(one[start], other[start]) > 1;
  const before = (one, other) => {
    const [first, second] = [rects.get(one), rects.get(other)];
    if (!first?.width || !second?.width) return false;
    if (meet(first, second, 'left', 'right')) return first.bottom <= second.top + 1;
    if (!meet(first, second, 'top', 'bottom')) return false;
    return direction === 'rtl' ? first.left + 1 >= second.right : first.right <= second.left + 1;
  };
  if (!parts.some((part, i) => parts.slice(i + 1).some((later) => before(later, part)))) return parts;
  const top = (part) => rects.get(part)?.top ?? -Infinity;
  const found = [], left = [...parts];
  while (left.length) {
    const free = left.filter((part) => !left.some((other) => before(other, part)));
    const next = free.reduce((one, other) => (top(other) < top(one) ? other : one), free[0] ?? left[0]);
    found.push(next);
    left.splice(left.indexOf(next), 1);
  }
  return found;
}

// Elements as they are entered and left, and texts between: [node, whether it is left].
function* walk(root) {
  const { nodeType } = Object.getOwnPropertyDescriptors(Node.prototype);
  const following = new Map(); // of children that are not read in the document's order
  const next = (node) => (following.has(node) ? following.get(node) : nextOf(node));
  for (let node = root; node; ) {
    const text = nodeType.get.call(node) === Node.TEXT_NODE;
    if (text || isElement(node)) yield [node, false];
    const parts = isElement(node) ? arranged(node) : null;
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

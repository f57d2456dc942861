// First letters. One with a style of its own is painted by no highlight: where it has no label, the element whose first
// letter it is has to hide it.

// Notes with each piece the elements that `opens` with it: whose first letter is its own. Where the browser may take
// another's for it (in tables, rows, formulas), none: a letter too many is better than a label without its letter.
const PLAIN = /^(block|inline|list-item|flow-root|contents)$/;
function noteOpenings(found) {
  const opened = new Set();
  for (const piece of found) {
    piece.opens = [];
    const { node, text, generated: made, drawing, formula } = piece;
    if (!/\S/.test(text) || standsOutside(piece) || !isLaidOut(piece)) continue;
    let sure = !made && !drawing && !formula && /[\p{L}\p{N}]/u.test(text);
    for (let element = made ? node : parentOf(node); isElement(element) && !opened.has(element); element = parentOf(element)) {
      opened.add(element);
      if (sure) piece.opens.push(element);
      const { display, position, cssFloat } = getComputedStyle(element);
      if (cssFloat !== 'none' || /absolute|fixed/.test(position)) break; // what it stands in opens with something else
      sure &&= PLAIN.test(display);
    }
  }
}

const standsOutside = ({ node, generated: made }) =>
  made?.kind === 'marker' && getComputedStyle(node).listStylePosition === 'outside';

// Not where it is closed: the browser measures text in a closed `details`, and paints none.
const isLaidOut = ({ style }) => Element.prototype.checkVisibility.call(style.box);

function hideFirstLettersOf(without) {
  for (const element of ask('querySelectorAll', `[${UNREAD}]`)) Element.prototype.removeAttribute.call(element, UNREAD);
  for (const { opens } of without) for (const element of opens) Element.prototype.setAttribute.call(element, UNREAD, '');
}

// Is a line the large first letters that the text of a piece begins with? They stand before it, on its base line, or reach
// down beside the lines that follow.
const LARGE_FIRST = /^["'“‘«„»(¿¡]*[\p{L}\p{N}]["'”’]?$/u;
function isInitialOf(line, piece) {
  if (!line || line.style.flow !== 'level' || line.style.turn !== piece.style.turn || !LARGE_FIRST.test(line.text.trim())) return false;
  const { pieces: [first], x, y, w, h, size } = line, { block } = piece.style;
  if (size < 1.3 * piece.size || first.generated || !isElement(block) || !Node.prototype.contains.call(block, first.node)) return false;
  const gap = RIGHT_TO_LEFT.test(line.text) ? x - piece.x - piece.w : piece.x - x - w;
  return gap > -2 && gap < 0.5 * size && piece.y + piece.h / 2 > y && piece.y + piece.h / 2 < y + h;
}

// A line with its large first letters. Where they reach down beside the lines below, its box keeps the height of the others.
function startWith(initial, line) {
  const [first] = initial.pieces, { node, start } = line.pieces[0];
  range.setStart(first.node, first.end);
  range.setEnd(node, start);
  line.text = initial.text.trimEnd() + (/\s/.test(range.toString() + line.text[0]) ? ' ' : '') + line.text.trimStart();
  const { y, h, size, rows } = line, base = (rect) => rect.y + ASCENT * rect.h, dropped = base(initial) - base(line) > 0.4 * size;
  for (const piece of initial.pieces) grow(line, piece);
  line.pieces = [...initial.pieces, ...line.pieces.slice(0, -initial.pieces.length)];
  if (dropped) Object.assign(line, { reach: [line.y, line.y + line.h], y, h, size, rows });
}
const ASCENT = 0.8; // of a line's box, down to the base line

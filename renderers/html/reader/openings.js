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

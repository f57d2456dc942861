// The cleaned HTML of what an image shows: its labelled text, in the elements that mean something to a reader.

const MEANT = new Set(('h1 h2 h3 h4 h5 h6 p ul ol li dl dt dd table caption thead tbody tfoot tr td th a b strong i em u s ' +
  'del ins mark small sub sup code kbd pre blockquote q cite button figure figcaption').split(' '));
const BLOCK = /<(?:h[1-6]|p|ul|ol|li|dl|dt|dd|table|pre|blockquote|figure)\b/;
const HELD = { a: ['href'], td: ['colspan', 'rowspan'], th: ['colspan', 'rowspan'], ol: ['start'] }; // attributes
const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => ENTITIES[sign]);

function cleanedHtml(pieces) {
  const shown = new Map(); // text nodes, and elements with generated text → what of it is shown
  for (const { node, text, generated: made, hyphened } of pieces) {
    const said = shown.get(node) ?? { text: '', before: '', after: '', marker: '' };
    said[made?.kind ?? 'text'] += hyphened ? text.slice(0, -1) : text;
    shown.set(node, said);
  }
  return outerOf(own('documentElement'), shown).trim();
}

function outerOf(element, shown) {
  const said = shown.get(element);
  let inner = escaped(said?.before ?? '');
  for (const child of getter(Node.prototype, 'childNodes')(element)) {
    if (isElement(child)) inner += outerOf(child, shown);
    else if (shown.has(child)) inner += textOfNode(element, shown.get(child).text);
  }
  inner += escaped(said?.after ?? '');
  const name = nameOf(element), cell = name === 'td' || name === 'th';
  if (!cell && !/\S/.test(inner.replace(/<[^<>]*>/g, ''))) return inner.includes('<') ? '' : inner;
  if (MEANT.has(name)) return `<${name}${attributesOf(element, name)}>${cell ? inner.trim() : inner}</${name}>`;
  if (/^(inline|contents)/.test(styleOf(element).display) || BLOCK.test(inner)) return inner;
  return `<p>${inner.trim()}</p>`;
}

function textOfNode(parent, text) {
  return escaped(/^pre|break-spaces/.test(getComputedStyle(parent).whiteSpace) ? text : text.replace(/\s+/g, ' '));
}

function attributesOf(element, name) {
  const values = (HELD[name] ?? []).map((attribute) => [attribute, Element.prototype.getAttribute.call(element, attribute)]);
  const told = values.filter(([, value]) => value !== null && value.length <= 2048);
  return told.map(([attribute, value]) => ` ${attribute}="${escaped(attribute === 'href' ? absolute(value) : value)}"`).join('');
}

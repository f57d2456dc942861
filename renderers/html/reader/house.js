// The files reader/*.js make up one function of (minFont, maxHeight, served, answered), put together by html/tab.py.
// It runs in an isolated world of the page: its own globals and untouched prototypes. Everything of the document is
// still asked for through the prototypes, because <img name=createRange> shadows document.createRange.

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

const MARK = 'data-curate-owner', SHOWN = 'data-curate-shown'; // attributes of elements with generated text
const CONTROL = 'data-curate-control'; // of those that stand for a control
const INITIAL = 'data-curate-initial', UNREAD = 'data-curate-unread'; // of blocks whose first letter is raised; has no label
const UNFIXED = 'data-curate-unfixed'; // of those whose generated content is fixed to the viewport

// Only text that a label can name is painted. Generated text is where `shown` says that it has a label.
const HOUSE = `
  *, *::before, *::after {
    hyphens: manual !important;
    -webkit-text-security: none !important;
    pointer-events: auto !important; transition: none !important; scroll-behavior: auto !important;
    scroll-snap-type: none !important; scroll-timeline: none !important; text-emphasis: none !important;
    text-shadow: none !important; -webkit-box-reflect: initial !important; scroll-marker-group: none !important;
  }
  *:not([${SHOWN}~=before])::before, *:not([${SHOWN}~=after])::after, *:not([${SHOWN}~=marker])::marker,
  input, select, textarea, ::placeholder, ::file-selector-button {
    caret-color: transparent !important; color: transparent !important; -webkit-text-fill-color: transparent !important;
  }
  [${INITIAL}]::first-letter { initial-letter: normal !important; }
  [${UNREAD}]::first-letter { color: transparent !important; -webkit-text-fill-color: transparent !important; }
  [${UNFIXED}~=before]::before, [${UNFIXED}~=after]::after { position: absolute !important; }
  iframe, frame, object, embed, video, audio, canvas, marquee { visibility: hidden !important; }
  ::highlight(unlabelled) {
    color: transparent; -webkit-text-fill-color: transparent; -webkit-text-stroke-color: transparent;
    text-decoration-color: transparent;
  }`;

// Whether the page lost its stylesheets (those that it links, or all: classes without a rule to read them), and shows most
// of its text in the browser's own typeface: `unstyled`. Drawings that only a lost stylesheet kept small would fill the
// page, and are taken out: `shapes`.
const facts = { stylesheets: 0, lost_stylesheets: 0, unstyled: false, shapes: 0 };
const ICON = 64; // px
const CLASSED = 20; // elements with a class: a page that was written for a stylesheet
function judgeStyles() {
  for (const address of linkedStyles()) {
    facts.stylesheets += 1;
    if (!answered.includes(address.split('#')[0])) facts.lost_stylesheets += 1;
  }
  const bare = facts.stylesheets === 0 && [...own('styleSheets')].every(isEmpty);
  const orphaned = bare && ask('querySelectorAll', '[class]').length >= CLASSED;
  const lost = orphaned || (facts.lost_stylesheets > 0 && 2 * facts.lost_stylesheets >= facts.stylesheets);
  facts.unstyled = lost && plainShare() > 0.5;
  for (const drawing of ask('querySelectorAll', lost ? 'svg' : bare ? 'svg[class]' : 'svg:not(*)')) hideGiant(drawing);
}

function isEmpty(sheet) {
  try { return sheet.cssRules.length === 0; } catch { return false; } // of another address: not to be looked into
}

const LINKED = 'link[rel~=stylesheet i]:not([rel~=alternate i]), link[rel~=preload i][as=style i][onload]';
function* linkedStyles() {
  for (const link of ask('querySelectorAll', LINKED)) {
    const awaited = Element.prototype.hasAttribute.call(link, 'onload'); // a script makes it the page's once it is there
    if (awaited || matchMedia(link.media || 'all').matches) yield getter(HTMLLinkElement.prototype, 'href')(link);
  }
  for (const style of ask('getElementsByTagName', 'style')) {
    for (const rule of style.sheet?.cssRules ?? []) if (rule instanceof CSSImportRule) yield absolute(rule.href);
  }
}

// The share of the page's characters in the typefaces of a page without styles.
const OWN_TYPEFACE = /^("?Times New Roman"?|monospace)$/; // the latter of code
function plainShare() {
  const walker = ask('createTreeWalker', own('documentElement'), NodeFilter.SHOW_TEXT);
  let plain = 0, all = 0.1;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = parentOf(node), { length } = node.data.trim();
    if (!length || /^(script|style|noscript|title|template)$/.test(nameOf(parent))) continue;
    all += length;
    if (OWN_TYPEFACE.test(getComputedStyle(parent).fontFamily)) plain += length;
  }
  return plain / all;
}

function absolute(address) {
  try { return new URL(address, getter(Node.prototype, 'baseURI')(document)).href; } catch { return ''; }
}

function hideGiant(drawing) {
  const sized = (side) => /^\s*[\d.]+(px|em|rem|pt)?\s*$/.test(Element.prototype.getAttribute.call(drawing, side) ?? drawing.style[side]);
  if (sized('width') || sized('height')) return;
  const { width, height } = Element.prototype.getBoundingClientRect.call(drawing);
  if (Math.max(width, height) <= ICON || Element.prototype.querySelector.call(drawing, 'text')) return;
  facts.shapes += 1;
  force(drawing, 'display', 'none');
}

// A control that shows text gives way to a box of its size and style, whose text can be measured as any other.
const TYPED = /^(|text|search|email|url|tel|number|date|time|month|week|datetime-local)$/;
const PRESSED = /^(submit|reset|button)$/;
function standIn(element) {
  const text = textOf(element);
  const style = getComputedStyle(element);
  if (!text || style.display === 'none' || style.visibility !== 'visible') return;
  const { width, height } = Element.prototype.getBoundingClientRect.call(element);
  const zoom = zoomOf(element);
  const box = ask('createElement', 'span');
  Element.prototype.setAttribute.call(box, CONTROL, '');
  for (const name of style) if (!/^(animation|transition|-webkit-user|appearance|content$|inline-size|block-size)/.test(name)) {
    box.style.setProperty(name, style.getPropertyValue(name), 'important');
  }
  const set = (rules) => Object.entries(rules).forEach(([name, value]) => box.style.setProperty(name, value, 'important'));
  const sunken = /inset|outset/.test(style.borderTopStyle); // drawn by the browser as half as wide
  const across = PRESSED.test(element.type) ? 'center' : style.direction === 'rtl' ? 'right' : 'left';
  const scrolls = nameOf(element) === 'textarea' || text.rows; // the others stand on their text's base line
  set({ 'box-sizing': 'border-box', overflow: scrolls ? 'hidden' : 'clip', '-webkit-text-fill-color': 'currentcolor' });
  if (style.transform === 'none') set({ width: `${width / zoom}px`, height: `${height / zoom}px` });
  if (style.display === 'inline') set({ display: 'inline-block' });
  if (/start|auto|-webkit-/.test(style.textAlign)) set({ 'text-align': across });
  if (nameOf(element) === 'textarea') set({ 'white-space': 'pre-wrap', 'overflow-wrap': 'break-word' });
  else set({ 'white-space': 'pre', 'line-height': `${(element.clientHeight || parseFloat(style.height)) + (sunken ? 2 : 0)}px`, 'padding-top': '0', 'padding-bottom': '0' });
  if (sunken) set({ border: '1px solid rgb(118, 118, 118)', 'border-radius': '2px' });
  if (nameOf(element) !== 'textarea') set({ 'text-overflow': 'ellipsis' }); // what goes beyond it ends so
  if (text.rows) set({ 'line-height': `${element.clientHeight / text.rows}px` });
  if (text.faint) set({ color: 'rgb(117, 117, 117)' });
  if (nameOf(element) === 'select') set({ 'padding-left': '4px' });
  box.textContent = text.text;
  Element.prototype.replaceWith.call(element, box);
}

// A `details` without a summary shows one of the browser's own, which no label can name: it is given one.
const isSummary = (node) => isElement(node) && nameOf(node) === 'summary';
function summarize(details) {
  if ([...getter(Element.prototype, 'children')(details)].some(isSummary)) return;
  const summary = ask('createElement', 'summary');
  summary.textContent = 'Details';
  Element.prototype.prepend.call(details, summary);
}

const LISTED = 4; // rows that a list shows which names no number

// The rows of a list: its options, below the names of their groups.
function* rowsOf(list, indent = '') {
  for (const child of getter(Element.prototype, 'children')(list)) {
    if (/^opt(ion|group)$/.test(nameOf(child))) yield indent + child.label;
    if (nameOf(child) === 'optgroup') yield* rowsOf(child, '    ');
  }
}

// What a control shows: its value, else its hint; undefined where that is no text, or dots.
function textOf(element) {
  const name = nameOf(element);
  if (name === 'select') {
    const { multiple, size, selectedIndex, options } = element;
    const listed = multiple || size > 1;
    const text = listed ? [...rowsOf(element)].slice(0, size || LISTED).join('\n') : (options[selectedIndex]?.label ?? '');
    return /\S/.test(text) ? { text, rows: listed && (size || LISTED) } : undefined;
  }
  const { type, value, placeholder } = element;
  if (name === 'input' && !TYPED.test(type) && !PRESSED.test(type)) return undefined;
  if (PRESSED.test(type)) return { text: value || { submit: 'Submit', reset: 'Reset' }[type] || '' };
  if (DATED.test(type)) return { text: value ? dated(type, value) : UNDATED[type] };
  if (value) return { text: value };
  return placeholder && /^(|text|search|email|url|tel|number|textarea)$/.test(type) ? { text: placeholder, faint: true } : undefined;
}

// Dates and times as the browser shows them in English.
const DATED = /^(date|time|month|week|datetime-local)$/;
const UNDATED = { date: 'mm/dd/yyyy', time: '--:-- --', month: '--------- ----', week: 'Week --, ----', 'datetime-local': 'mm/dd/yyyy, --:-- --' };
const FORMATS = {
  date: { year: 'numeric', month: '2-digit', day: '2-digit' }, time: { hour: '2-digit', minute: '2-digit' }, month: { year: 'numeric', month: 'long' },
};
FORMATS['datetime-local'] = { ...FORMATS.date, ...FORMATS.time };
function dated(type, value) {
  const [year, week] = value.split('-W');
  if (type === 'week') return `Week ${week}, ${year}`;
  const moment = new Date(type === 'time' ? `2000-01-01T${value}Z` : type === 'datetime-local' ? `${value}Z` : value);
  const seconds = /:\d+:/.test(value) ? { second: '2-digit' } : {};
  return moment.toLocaleString('en-US', { ...FORMATS[type], ...seconds, timeZone: 'UTC' }).replaceAll('\u202f', ' ');
}

const DROP_SHADOW = /drop-shadow\((?:[^()]|\([^()]*\))*\)/g;

// Costly on every page, and so only where its styles speak of such things, or cannot be looked into.
const COSTLY = {
  'first-line': '*::first-line { font: inherit !important; }',
  'scroll-button': '*::scroll-button(*) { content: none !important; }',
};
function spokenOf(name) {
  return served || [...ask('getElementsByTagName', 'style')].some((sheet) => sheet.textContent.includes(name));
}

function rules() {
  return HOUSE + Object.keys(COSTLY).filter(spokenOf).map((name) => COSTLY[name]).join('\n');
}

// Where pages ask their readers to switch scripts on, which no reader of a browser with scripts sees.
const NOTICES = 'noscript, [id*=noscript i], [class*=noscript i], [class*=no-js i]:not(html, body), [id*=js-disabled i], [class*=js-disabled i]';

// Brings the page to rest: nothing moves, nothing sticks to the viewport, no broken picture shows its alt text.
function settle() {
  for (const element of ask('querySelectorAll', NOTICES)) {
    if (/java\s?script/i.test(element.textContent) && element.textContent.length < 600) force(element, 'display', 'none');
  }
  reveal();
  judgeStyles();
  for (const element of ask('querySelectorAll', 'input, select, textarea')) standIn(element);
  for (const element of ask('getElementsByTagName', 'details')) summarize(element);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules());
  document.adoptedStyleSheets = [sheet]; // not `<style>`: a page's own policy may forbid that
  for (const animation of ask('getAnimations')) endAnimation(animation);
  for (const image of ask('getElementsByTagName', 'img')) {
    if (!image.complete || image.naturalWidth === 0) force(image, 'visibility', 'hidden');
  }
  const shortened = [], raised = spokenOf('initial-letter');
  const changes = []; // made after all reads, so that the layout is computed once
  for (const element of ask('querySelectorAll', '*')) {
    const style = getComputedStyle(element);
    if (style.position === 'fixed') changes.push([element, 'position', 'absolute']);
    if (style.position === 'sticky') changes.push([element, 'position', 'relative'], [element, 'inset', 'auto']);
    if (style.writingMode !== 'horizontal-tb' && lacksColumns(style)) changes.push([element, 'font-family', style.fontFamily + COLUMNS]);
    const lines = parseInt(style.webkitLineClamp) || 0;
    if (lines) changes.push([element, '-webkit-line-clamp', 'none']);
    if (style.textOverflow !== 'clip') changes.push([element, 'text-overflow', 'clip']);
    if (lines || (style.textOverflow !== 'clip' && style.overflowX !== 'visible')) shortened.push([element, style, lines]);
    if (style.contentVisibility === 'auto') changes.push([element, 'content-visibility', 'visible']);
    if (style.backgroundClip.includes('text')) changes.push(...unclipped(element, style));
    if (style.filter.includes('drop-shadow')) changes.push([element, 'filter', style.filter.replace(DROP_SHADOW, '') || 'none']);
    if (raised && !/^inline|^none/.test(style.display)) lowerFirstLetter(element);
    hideShadow(element);
  }
  for (const change of changes) force(...change);
  for (const [element, style, lines] of shortened) shorten(element, style, lines);
  for (const element of ask('querySelectorAll', '[inert]')) Element.prototype.removeAttribute.call(element, 'inert');
  plainFormulas();
}

function lowerFirstLetter(element) { // one rule for all would part every first letter from its word
  if (getComputedStyle(element, '::first-letter').initialLetter !== 'normal') Element.prototype.setAttribute.call(element, INITIAL, '');
}

// Many pages hide themselves whole until a script has run; no reader of theirs is shown nothing.
function reveal() {
  for (const root of [own('documentElement'), own('body')]) {
    if (!root) continue;
    const { opacity, visibility, display } = getComputedStyle(root);
    if (opacity < 0.1) force(root, 'opacity', '1');
    if (visibility !== 'visible') force(root, 'visibility', 'visible');
    if (display === 'none') force(root, 'display', 'block');
  }
}

// Where no language says which font to take for Chinese, the browser may take one without the measures for columns.
const COLUMNS = ', "Noto Serif CJK SC", "Noto Sans CJK SC"';
const lacksColumns = ({ fontFamily, webkitLocale }) => !/^"?(zh|ja|ko)/i.test(webkitLocale) && !fontFamily.includes(COLUMNS);

// What an animation leaves behind becomes the element's own style: a finished one may be painted a frame late.
function endAnimation(animation) {
  try {
    animation.finish(); // an endless one cannot be finished
    if (/forwards|both/.test(animation.effect.getComputedTiming().fill)) animation.commitStyles();
  } catch { /* one of generated content has no style of its own to be written to */ }
  animation.cancel();
}

// Text that its box cuts off with an ellipsis ends in one of its own, which a label can name: at the end of the only line
// where `lines` is 0, else of the last of so many.
const FIRST_LETTER = /\p{L}/u;
function shorten(element, style, lines) {
  const { left, top, width, height } = Element.prototype.getBoundingClientRect.call(element);
  if (!width || !height || style.writingMode !== 'horizontal-tb') return;
  if (!lines && !/nowrap|pre$/.test(style.whiteSpace)) return;
  const [script] = FIRST_LETTER.exec(element.textContent) ?? [''];
  if (script && (style.direction === 'rtl') !== RIGHT_TO_LEFT.test(script)) return; // its end is what is seen
  const room = lines ? -0.5 : widthOf('…', style) - 0.5;
  const inner = left + element.clientLeft;
  const [least, most] = [inner + parseFloat(style.paddingLeft), inner + element.clientWidth - parseFloat(style.paddingRight)];
  const within = style.direction === 'rtl' ? (rect) => rect.left >= least + room : (rect) => rect.right <= most - room;
  const high = parseFloat(style.lineHeight) || 1.2 * parseFloat(style.fontSize);
  const foot = lines ? top + element.clientTop + parseFloat(style.paddingTop) + (lines + 0.3) * high : Infinity;
  const fits = (rect) => (lines || within(rect)) && rect.bottom <= foot;
  if (lines ? element.scrollHeight <= foot - top : element.scrollWidth <= element.clientWidth) return;
  const walker = ask('createTreeWalker', element, NodeFilter.SHOW_TEXT);
  const place = ask('createRange');
  const reach = (node, start, end) => (place.setStart(node, start), place.setEnd(node, end), place.getBoundingClientRect());
  let full = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { length } = node;
    if (full) node.data = '';
    if (full || !length || !/\S/.test(node.data) || fits(reach(node, 0, length))) continue;
    let low = 0, high = length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (fits(reach(node, 0, middle))) low = middle;
      else high = middle - 1;
    }
    full = true;
    const whole = node.data;
    do node.data = whole.slice(0, low) + '…';
    while (lines && low > 0 && !fits(reach(node, 0, node.length)) && low--);
  }
}

// A root's sign is a drawing, and so is a stretched operator: elsewhere than its text.
function plainFormulas() {
  for (const element of ask('querySelectorAll', 'msqrt, mroot, menclose')) {
    force(Element.prototype.closest.call(element, 'math') ?? element, 'visibility', 'hidden');
  }
  for (const element of ask('querySelectorAll', 'mo')) {
    for (const name of ['stretchy', 'largeop']) Element.prototype.setAttribute.call(element, name, 'false');
  }
}

// No label reaches into a shadow tree, nor tells where it puts the children of its host.
const shadowOf = getter(Element.prototype, 'shadowRoot');
function hideShadow(element) {
  const root = shadowOf(element);
  if (!root) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(':host, * { visibility: hidden !important; }');
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  for (const inner of DocumentFragment.prototype.querySelectorAll.call(root, '*')) hideShadow(inner);
}

// A background that shows through letters alone is painted whatever the letters' colour: give them its first one.
function unclipped(element, style) {
  const [ink] = /rgba?\([^)]*\)/.exec(style.backgroundImage) ?? [style.backgroundColor];
  return [[element, 'background', 'none'], [element, '-webkit-text-fill-color', ink]];
}

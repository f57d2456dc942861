// The files html_*.js make up one function of (minFont, maxHeight, served), put together by html_tab.py.
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

// Only text that a label can name is painted, and as the document spells it.
const HOUSE = `
  *, *::before, *::after {
    text-transform: none !important; font-variant-caps: normal !important; hyphens: manual !important;
    text-overflow: clip !important; -webkit-line-clamp: none !important; -webkit-text-security: none !important;
    pointer-events: auto !important; transition: none !important; scroll-behavior: auto !important;
    scroll-snap-type: none !important; scroll-timeline: none !important; text-emphasis: none !important;
    text-shadow: none !important; -webkit-box-reflect: initial !important; scroll-marker-group: none !important;
  }
  *::before, *::after, *::marker, input, select, textarea, ::placeholder, ::file-selector-button {
    caret-color: transparent !important; color: transparent !important; -webkit-text-fill-color: transparent !important;
  }
  iframe, frame, object, embed, video, audio, canvas, marquee { visibility: hidden !important; }
  ::highlight(unlabelled) {
    color: transparent; -webkit-text-fill-color: transparent; -webkit-text-stroke-color: transparent;
    text-decoration-color: transparent;
  }`;

const DROP_SHADOW = /drop-shadow\((?:[^()]|\([^()]*\))*\)/g;

// Costly on every page, and so only where its styles speak of such things, or cannot be looked into.
const COSTLY = {
  'first-line': '*::first-line { font: inherit !important; }',
  'scroll-button': '*::scroll-button(*) { content: none !important; }',
};
function rules() {
  const sheets = [...ask('getElementsByTagName', 'style')].map((sheet) => sheet.textContent);
  const spokenOf = (name) => served || sheets.some((text) => text.includes(name));
  return HOUSE + Object.keys(COSTLY).filter(spokenOf).map((name) => COSTLY[name]).join('\n');
}

// Brings the page to rest: nothing moves, nothing sticks to the viewport, no broken picture shows its alt text.
function settle() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules());
  document.adoptedStyleSheets = [sheet]; // not `<style>`: a page's own policy may forbid that
  for (const animation of ask('getAnimations')) endAnimation(animation);
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
    if (style.filter.includes('drop-shadow')) changes.push([element, 'filter', style.filter.replace(DROP_SHADOW, '') || 'none']);
    hideShadow(element);
  }
  for (const change of changes) force(...change);
  for (const element of ask('querySelectorAll', '[inert]')) Element.prototype.removeAttribute.call(element, 'inert');
  plainFormulas();
}

// What an animation leaves behind becomes the element's own style: a finished one may be painted a frame late.
function endAnimation(animation) {
  try {
    animation.finish(); // an endless one cannot be finished
    if (/forwards|both/.test(animation.effect.getComputedTiming().fill)) animation.commitStyles();
  } catch { /* one of generated content has no style of its own to be written to */ }
  animation.cancel();
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

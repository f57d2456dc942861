// Has the images loaded that wait to be scrolled to, by the browser or by a script; gives how many are under way. A
// function of its own, called until that is none: the others measure what is then there.
() => {
  const waiting = ['data-src', 'data-lazy-src', 'data-original', 'data-srcset', 'data-lazy-srcset'];
  const images = [...Document.prototype.getElementsByTagName.call(document, 'img')];
  const { getAttribute, setAttribute, removeAttribute } = Element.prototype;
  for (const image of images) {
    const given = (name) => getAttribute.call(image, name);
    if (given('loading') === 'lazy') setAttribute.call(image, 'loading', 'eager');
    const from = waiting.find((name) => given(name));
    if (!from || (given('src') && !given('src').startsWith('data:'))) continue;
    setAttribute.call(image, from.endsWith('srcset') ? 'srcset' : 'src', given(from));
    for (const name of waiting) removeAttribute.call(image, name);
  }
  return images.filter((image) => !image.complete).length;
}

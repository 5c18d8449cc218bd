// Measures what a reader sees: the boxes of texts, after everything that cuts them. An expression: its value has the functions.
(() => {
  const HOLDERS = 'button, .pill, .chip > span, .segmented, .variant, th, td, .toast, .bulk, .card';

  /** The lines of all texts that can be seen, in the dialog if one is open. */
  function lines() {
    const walker = document.createTreeWalker(document.querySelector('dialog[open]') ?? document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const text = walker.currentNode;
      const parent = text.parentElement;
      if (!text.data.trim() || !parent.checkVisibility({ visibilityProperty: true }) || parent.closest('select') || isForEarsOnly(parent)) continue;
      const range = document.createRange();
      range.selectNodeContents(text);
      for (const line of range.getClientRects()) {
        const box = cut({ left: line.left, top: line.top, right: line.right, bottom: line.bottom }, parent);
        if (box.right - box.left > 1 && box.bottom - box.top > 1) found.push({ text, parent, box });
      }
    }
    return found;
  }

  function isForEarsOnly(node) {
    return Boolean(node) && (getComputedStyle(node).clipPath !== 'none' || isForEarsOnly(node.parentElement));
  }

  function cut(box, place) {
    for (; place; place = place.parentElement) {
      if (getComputedStyle(place).overflow === 'visible') continue;
      const edge = place.getBoundingClientRect();
      box.left = Math.max(box.left, edge.left);
      box.right = Math.min(box.right, edge.right);
      box.top = Math.max(box.top, edge.top);
      box.bottom = Math.min(box.bottom, edge.bottom);
    }
    return box;
  }

  // The box of a line is higher than its letters.
  const collide = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5;
  // It lies over the rest of the list.
  const isSticky = ({ parent }) => Boolean(parent.closest('.to-mesh'));
  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

  return {
    /** Texts that run over each other. */
    collisions() {
      const all = lines();
      return all.flatMap((one, index) => all.slice(index + 1)
        .filter((other) => one.text !== other.text && isSticky(one) === isSticky(other) && collide(one.box, other.box))
        .map((other) => `${one.text.data} | ${other.text.data}`));
    },
    /** Texts that leave the button, pill, cell or card that they belong to. */
    outside() {
      return lines().filter(({ parent, box }) => {
        const edge = parent.closest(HOLDERS)?.getBoundingClientRect();
        return edge && (box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top - 3 || box.bottom > edge.bottom + 3);
      }).map(({ text }) => text.data);
    },
    /** Texts that are cut off without an ellipsis. */
    cutOff() {
      return [...new Set(lines().map(({ parent }) => parent))].filter((node) => {
        const { overflow, textOverflow, webkitLineClamp } = getComputedStyle(node);
        const isCut = node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1;
        return overflow === 'hidden' && isCut && textOverflow !== 'ellipsis' && webkitLineClamp === 'none';
      }).map((node) => node.textContent);
    },
    /** Texts of the picture that leave their box. */
    outsidePicture() {
      const boxes = [...document.querySelectorAll('#picture rect')].map((rect) => rect.getBBox());
      const fits = ({ x, y, width, height }) => boxes.some((box) => box.x <= x && x + width <= box.x + box.width
        && box.y <= y + height && y <= box.y + box.height);
      return [...document.querySelectorAll('#picture text')].filter((text) => !fits(text.getBBox())).map((text) => text.textContent);
    },
    /** Controls that are under a message. */
    covered(rows) {
      const notes = [...document.querySelectorAll('.toast')].map((note) => note.getBoundingClientRect());
      return [...document.querySelectorAll('button, a, input, select')]
        .filter((node) => node.checkVisibility() && (rows || !node.closest('#rows')))
        .filter((node) => notes.some((note) => overlap(node.getBoundingClientRect(), note)))
        .map((node) => node.id || node.textContent);
    },
  };
})()

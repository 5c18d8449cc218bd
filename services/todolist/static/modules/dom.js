const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} id @returns {HTMLElement} the element of the page with this id */
export const byId = (id) => document.getElementById(id);

/**
 * Builds an HTML element; text can only become text nodes, never markup.
 * @param {string} tag
 * @param {Record<string, unknown>} [props] attributes; `onclick` and the like take functions; null and false are left out
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/**
 * Builds an SVG element, otherwise as `el`.
 * @param {string} tag
 * @param {Record<string, unknown>} [props]
 * @param {...(Node | string | null)} children
 * @returns {SVGElement}
 */
export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/**
 * An icon, hidden from screen readers: the button or text that it belongs to has the words.
 * @param {string} name of a symbol at the end of index.html
 * @returns {SVGElement}
 */
export const icon = (name) => svg('svg', { class: 'icon', width: 18, height: 18, 'aria-hidden': 'true' }, svg('use', { href: `#icon-${name}` }));

/** @returns {boolean} whether the browser requests reduced motion */
export const prefersStill = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

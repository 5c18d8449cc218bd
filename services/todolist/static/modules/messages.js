import { byId, el, icon } from './dom.js';
import { formatWait, hasText, onLanguageChange, t } from './i18n.js';
import { currentOwner, GUEST } from './owner.js';

const TOAST_MS = 5000;
// Where messages may be: in the middle or at the end of the line, and this far above the lower edge of the window.
const SPOTS = ['middle', 'end'];
const LOWEST = 24;
const STEP = 8;
// Between a message and a control.
const DISTANCE = 10;

/**
 * The error in the language of the page: the server's own messages are in English.
 * @param {unknown} error
 * @param {Record<number | string, string>} [special] keys of texts for statuses and kinds that have a special meaning here
 * @returns {string}
 */
export function errorText(error, special = {}) {
  if (error?.kind === undefined) return t('error.protocol');
  const wait = error.retryAfter === null ? '' : t('error.retryAfter', { time: formatWait(error.retryAfter) });
  const join = (text) => text + wait;
  if (error.kind === 'caller') return t(currentOwner() === GUEST ? 'error.callerEnded' : 'error.callerOther');
  if (error.kind !== 'http') return join(t(special[error.kind] ?? `error.${error.kind}`));
  if (special[error.status]) return join(t(special[error.status]));
  const { status } = error;
  // A 422 without fields is not about a form.
  const known = hasText(`error.${status}`) && !(status === 422 && !error.fields.length);
  return join(t(known ? `error.${status}` : `error.${Math.floor(status / 100)}xx`, { status }));
}

/** Repositions messages when the page below them moves or changes. */
export function setUpMessages() {
  for (const event of ['scrollend', 'resize']) addEventListener(event, placeToasts);
  const changes = new ResizeObserver(placeToasts);
  // What was read out is in the former language.
  onLanguageChange(() => { for (const part of ['items', 'session']) announce('', part); });
  for (const part of [document.body, ...['rows', 'empty', 'list-error', 'bulk'].map(byId)]) changes.observe(part);
}

/**
 * A short message that disappears by itself, or when it is clicked; screen readers read it out.
 * @param {string | (string | Node)[]} text may have parts, see i18n.phrase
 * @param {'status' | 'alert'} [kind]
 * @param {{lasting?: boolean}} [options] lasting: it stays until the returned function is called
 * @returns {() => void} removes it
 */
export function toast(text, kind = 'status', { lasting = false } = {}) {
  const note = el('div', { class: `toast toast-${kind}`, 'data-testid': 'toast' }, icon(kind === 'alert' ? 'alert' : 'check'), el('span', {}, ...[text].flat()));
  note.addEventListener('click', () => note.remove());
  byId(`toast-${kind}`).replaceChildren(note);
  placeToasts();
  const remove = () => note.remove();
  if (!lasting) setTimeout(remove, kind === 'alert' ? 2 * TOAST_MS : TOAST_MS);
  return remove;
}

/**
 * Has screen readers read a text out without showing it. Each part of the page has a live region of its own: in a
 * shared one, a second text would replace the first before it is read.
 * @param {string} text
 * @param {'items' | 'session'} part
 */
export function announce(text, part) {
  byId(`announcer-${part}`).textContent = text;
}

/** Messages go where they cover the fewest controls. A button in a row counts little: it can be scrolled away. */
function placeToasts() {
  const place = byId('toasts');
  const notes = [...place.querySelectorAll('.toast')];
  if (!notes.length) return;
  const controls = [...document.querySelectorAll('button, a, input, select, .bulk')].filter((node) => node.checkVisibility())
    .map((node) => ({ box: node.getBoundingClientRect(), weight: node.closest('#rows') ? 1 : 100 }));
  place.style.setProperty('--lift', `${LOWEST}px`);
  const places = SPOTS.flatMap((spot) => {
    place.dataset.spot = spot;
    const { left, top } = place.getBoundingClientRect();
    // Not the box of the note itself: it may still be rising.
    const boxes = notes.map((note) => ({ left: left + note.offsetLeft, top: top + note.offsetTop, width: note.offsetWidth, height: note.offsetHeight }));
    const lifts = Array.from({ length: Math.ceil((innerHeight + 1) / 2 / STEP) }, (_, step) => LOWEST + step * STEP);
    return lifts.map((lift) => ({ spot, lift, cost: costOf(boxes, lift - LOWEST, controls) }));
  });
  const best = places.reduce((one, other) => (other.cost < one.cost || (other.cost === one.cost && other.lift < one.lift) ? other : one));
  place.dataset.spot = best.spot;
  place.style.setProperty('--lift', `${best.lift}px`);
}

function costOf(notes, up, controls) {
  const isCovered = ({ box }) => notes.some(({ left, top, width, height }) => box.left < left + width + DISTANCE
    && left < box.right + DISTANCE && box.top < top - up + height + DISTANCE && top - up < box.bottom + DISTANCE);
  return controls.filter(isCovered).reduce((sum, { weight }) => sum + weight, 0);
}

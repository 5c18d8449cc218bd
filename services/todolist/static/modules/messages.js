import { byId, el, icon } from './dom.js';
import { formatWait, hasText, t } from './i18n.js';
import { currentOwner, GUEST } from './owner.js';

const TOAST_MS = 5000;

/**
 * What went wrong, in the language of the page; in the server's own words where the page has no text for it.
 * @param {unknown} error
 * @param {Record<number | string, string>} [special] keys of texts for statuses and kinds that have a special meaning here
 * @returns {string}
 */
export function errorText(error, special = {}) {
  if (error?.kind === undefined) return t('error.protocol');
  const wait = error.retryAfter === null ? '' : t('error.retryAfter', { time: formatWait(error.retryAfter) });
  const join = (text) => [text, wait].filter(Boolean).join(' ');
  if (error.kind === 'caller') return t(currentOwner() === GUEST ? 'error.callerEnded' : 'error.callerOther');
  if (error.kind !== 'http') return join(t(special[error.kind] ?? `error.${error.kind}`));
  if (special[error.status]) return join(t(special[error.status]));
  const key = `error.${error.status}`;
  // A 422 without fields is about something only the server can name.
  if (hasText(key) && !(error.status === 422 && !error.fields.length && error.detail)) return join(t(key));
  return join(error.detail || t('error.500'));
}

/**
 * A short message that disappears by itself; screen readers read it out.
 * @param {string | (string | Node)[]} text may have parts, see i18n.phrase
 * @param {'status' | 'alert'} [kind]
 */
export function toast(text, kind = 'status') {
  const note = el('div', { class: `toast toast-${kind}`, 'data-testid': 'toast' }, icon(kind === 'alert' ? 'alert' : 'check'), el('span', {}, ...[text].flat()));
  byId(`toast-${kind}`).replaceChildren(note);
  setTimeout(() => note.remove(), kind === 'alert' ? 2 * TOAST_MS : TOAST_MS);
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

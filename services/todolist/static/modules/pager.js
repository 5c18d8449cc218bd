import { byId, el, icon } from './dom.js';
import { formatNumber, t } from './i18n.js';
import { PAGE_SIZES, WINDOW } from './list-query.js';

/**
 * Draws the pager.
 * @param {import('./api.js').ItemPage} answer
 * @param {{goTo: (page: number) => void, resize: (size: number) => void}} actions
 */
export function drawPager(answer, { goTo, resize }) {
  const nav = byId('pager');
  const held = nav.contains(document.activeElement) ? document.activeElement.dataset.go : null;
  const { current, pageSize, data } = answer;
  const last = lastPage(answer);
  const total = totalText(answer);
  const from = (current - 1) * pageSize + 1;

  const range = answer.total ? t('pager.range', { from, to: from + data.length - 1, total }) : t('pager.none');
  const step = (go, name, label, page, disabled) => el('button', {
    type: 'button', class: 'button ghost icon-only', 'data-go': go, 'aria-label': label, title: label, disabled,
    onclick: () => goTo(page),
  }, icon(name));
  const pages = last > 1 ? el('div', { class: 'pages' },
    step('previous', 'left', t('pager.previous'), current - 1, current <= 1),
    ...pageNumbers(current, last).map((page) => page === null ? el('span', { class: 'gap' }, '…') : el('button', {
      type: 'button', class: 'button ghost page', 'data-go': page, 'aria-label': t('pager.page', { page }),
      'aria-current': page === current ? 'page' : null, onclick: () => goTo(page),
    }, formatNumber(page))),
    step('next', 'right', t('pager.next'), current + 1, current >= last)) : null;

  const sizes = el('select', { 'aria-label': t('pager.size'), onchange: (event) => resize(Number(event.target.value)) },
    ...PAGE_SIZES.map((size) => el('option', { value: size, selected: size === pageSize }, String(size))));
  const atEnd = answer.totalIsExact === false && current === last;

  nav.replaceChildren(...[
    el('p', { class: 'range', 'data-total': answer.total }, range),
    pages,
    el('label', { class: 'sizes' }, el('span', { 'aria-hidden': 'true' }, t('pager.size')), sizes),
    atEnd ? el('p', { class: 'muted window' }, t('pager.window')) : null,
  ].filter(Boolean));
  nav.hidden = false;
  if (held) (nav.querySelector(`[data-go="${held}"]:not(:disabled)`) ?? nav.querySelector('[aria-current]'))?.focus();
}

/** @param {import('./api.js').ItemPage} answer @returns {number} the last page that can be read */
export const lastPage = ({ total, pageSize }) => Math.max(1, Math.min(Math.ceil(total / pageSize), Math.floor(WINDOW / pageSize)));

/** @param {import('./api.js').ItemPage} answer @returns {string} such as 134, or 10,000+ when the service stopped counting there */
const totalText = ({ total, totalIsExact }) => formatNumber(total) + (totalIsExact === false ? '+' : '');

function pageNumbers(current, last) {
  const wanted = [...new Set([1, current - 1, current, current + 1, last])].filter((page) => page >= 1 && page <= last).sort((a, b) => a - b);
  return wanted.flatMap((page, index) => {
    const skipped = page - (wanted[index - 1] ?? 0) - 1;
    if (skipped === 1) return [page - 1, page];
    return skipped > 1 ? [null, page] : [page];
  });
}

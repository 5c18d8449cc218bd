import { serviceTime } from './api.js';
import { byId, el, icon } from './dom.js';
import { currentLanguage, formatAgo, formatTime, t } from './i18n.js';

/** Statuses in the order of an item's life, with their icons. */
export const STATUSES = [
  { status: 1, icon: 'progress' },
  { status: 3, icon: 'pause' },
  { status: 2, icon: 'check' },
  { status: 0, icon: 'ban' },
];
const REFRESH_MS = 30_000;

/**
 * @typedef {object} RowActions
 * @property {(item: import('./api.js').Item, status: number) => void} setStatus
 * @property {(item: import('./api.js').Item) => void} edit
 * @property {(item: import('./api.js').Item) => void} remove
 * @property {(key: string, selected: boolean, range: boolean) => void} select
 */

/** @type {Map<string, {row: HTMLElement, stamp: string}>} the rows and what they show */
const shown = new Map();

/** Keeps the relative times up to date. */
export function setUpRows() {
  setInterval(drawTimes, REFRESH_MS);
}

function drawTimes() {
  for (const time of byId('rows').querySelectorAll('time')) time.textContent = formatAgo(time.dateTime, serviceTime());
}

/**
 * Shows these items; rows that stay keep their element, and with it the focus.
 * @param {import('./api.js').Item[]} items
 * @param {Set<string>} selected
 * @param {RowActions} actions
 */
export function drawRows(items, selected, actions) {
  const body = byId('rows');
  const focus = focusedButton();
  const keys = new Set(items.map((item) => item.key));
  for (const [key, { row }] of shown) {
    if (keys.has(key)) continue;
    row.remove();
    shown.delete(key);
  }
  items.forEach((item, index) => {
    const entry = shown.get(item.key) ?? { row: el('tr', { role: 'row', 'data-testid': 'item-row', 'data-key': item.key }), stamp: '' };
    const stamp = JSON.stringify([currentLanguage(), item]);
    shown.set(item.key, entry);
    if (entry.stamp !== stamp) fillRow(entry.row, item, selected.has(item.key), actions);
    entry.stamp = stamp;
    if (body.children[index] !== entry.row) body.insertBefore(entry.row, body.children[index] ?? null);
  });
  // Of rows that stay, too: the computer may have slept for hours.
  drawTimes();
  if (focus && !byId('rows').contains(document.activeElement)) restoreFocus(focus);
}

/** Marks a row as waiting for an answer. @param {string} key @param {boolean} busy */
export function setRowBusy(key, busy) {
  shown.get(key)?.row.setAttribute('aria-busy', String(busy));
}

/** Highlights a row for a moment, if it is there. @param {string} key */
export function flashRow(key) {
  const row = shown.get(key)?.row;
  if (!row) return;
  row.classList.remove('flash');
  void row.offsetWidth;
  row.classList.add('flash');
}

/** @param {number} status @returns {HTMLElement} the pill of a status */
const statusPill = (status) => el('span', { class: `pill status-${status}`, 'data-status': status },
  icon(STATUSES.find((entry) => entry.status === status)?.icon ?? 'progress'), t(`status.${status}`));

function fillRow(row, item, isSelected, actions) {
  const cell = (name, ...children) => el('td', { role: 'cell', class: `cell-${name}` }, ...children);
  row.className = `row status-row-${item.status}${row.classList.contains('flash') ? ' flash' : ''}`;
  row.toggleAttribute('data-selected', isSelected);
  const focus = row.contains(document.activeElement) ? document.activeElement.dataset.slot : null;
  row.replaceChildren(
    cell('select', el('label', { class: 'tick' }, checkbox(item, isSelected, actions))),
    cell('name',
      el('button', { type: 'button', class: 'name', 'data-slot': 'name', title: item.name, onclick: () => actions.edit(item) }, el('span', {}, el('bdi', {}, item.name))),
      item.desc ? el('p', { class: 'desc' }, item.desc) : null),
    cell('status', statusPill(item.status)),
    cell('time', el('span', { class: 'time-label' }, t('field.createdAt')), timeOf(item.createdAt)),
    cell('time', el('span', { class: 'time-label' }, t('field.updatedAt')), timeOf(item.updatedAt)),
    cell('actions', el('div', { class: 'actions' }, ...buttons(item, actions))),
  );
  if (focus) (row.querySelector(`[data-slot="${focus}"]`) ?? row.querySelector('[data-slot="done"]'))?.focus();
}

function checkbox(item, isSelected, actions) {
  const box = el('input', { type: 'checkbox', 'data-slot': 'select', 'aria-label': t('items.select', { name: item.name }),
    onclick: (event) => actions.select(item.key, event.target.checked, event.shiftKey) });
  box.checked = isSelected;
  return box;
}

function buttons(item, actions) {
  const open = item.status === 1 || item.status === 3;
  const button = (slot, action, name, run) => el('button', {
    type: 'button', class: `button ghost icon-only act-${slot}`, 'data-slot': slot, 'data-action': action,
    'aria-label': t('action.of', { action: t(`action.${action}`), name: item.name }), title: t(`action.${action}`), onclick: run,
  }, icon(name));
  const to = (status) => () => actions.setStatus(item, status);
  return [
    open ? button('done', 'complete', 'check', to(2)) : button('done', 'reopen', 'reopen', to(1)),
    item.status === 1 ? button('pause', 'pause', 'pause', to(3)) : null,
    item.status === 3 ? button('pause', 'resume', 'play', to(1)) : null,
    open ? button('close', 'close', 'ban', to(0)) : null,
    button('edit', 'edit', 'edit', () => actions.edit(item)),
    button('delete', 'delete', 'trash', () => actions.remove(item)),
  ];
}

const timeOf = (iso) => el('time', { datetime: iso, title: formatTime(iso) }, formatAgo(iso, serviceTime()));

/**
 * Where the focus goes when a dialog about a row closes: the same button, or the one that took its place.
 * @param {string} key
 * @param {string} slot
 * @returns {() => HTMLElement} finds it when asked
 */
export function rowButton(key, slot) {
  const index = [...byId('rows').children].findIndex((row) => row.dataset.key === key);
  return () => {
    const rows = byId('rows').children;
    const row = shown.get(key)?.row ?? rows[Math.min(index, rows.length - 1)];
    return row?.querySelector(`[data-slot="${slot}"]`) ?? byId('items-heading');
  };
}

function focusedButton() {
  const row = document.activeElement?.closest?.('#rows > tr');
  return row && { index: [...row.parentNode.children].indexOf(row), slot: document.activeElement.dataset.slot };
}

function restoreFocus({ index, slot }) {
  const rows = byId('rows').children;
  const row = rows[Math.min(index, rows.length - 1)];
  (row?.querySelector(`[data-slot="${slot}"]`) ?? row?.querySelector('[data-slot="done"]') ?? byId('items-heading')).focus();
}

import { changeItem, isAborted, listItems, readItems } from './api.js';
import { byId, el, icon, svg } from './dom.js';
import { onLanguageChange, phrase, t } from './i18n.js';
import { findChanged, setUpItemDialogs } from './item-dialogs.js';
import { drawRows, flashRow, setRowBusy, setUpRows } from './item-rows.js';
import { DEFAULT_SORTER, readKey, readQuery, SORT_FIELDS, writeQuery } from './list-query.js';
import { announce, errorText, toast } from './messages.js';
import { carryOut } from './outcome.js';
import { currentEra, currentOwner } from './owner.js';
import { drawPager, lastPage } from './pager.js';

const TYPING_MS = 250;

let query = readQuery(location.search);
/** The key of an item that the address names and that has not been opened yet. */
let wanted = readKey(location.search);
/** @type {import('./api.js').ItemPage | null} */
let answer = null;
let failure = null;
/** @type {AbortController | null} the newest load; the result of an older one is ignored */
let newest = null;
const selected = new Set();
let lastTicked = null;
const writing = new Set();
let dialogs;

/** Sets up the list and loads it. */
export function setUpItems() {
  dialogs = setUpItemDialogs({ created: afterCreate, changed: afterChange, deleted: afterDelete, failed: afterFailure });
  setUpRows();
  drawControls();
  setUpSearch();
  byId('new-item').addEventListener('click', dialogs.create);
  byId('select-all').addEventListener('click', (event) => selectAll(event.target.checked));
  byId('bulk-clear').addEventListener('click', () => { selectAll(false); byId('select-all').focus(); });
  byId('bulk-delete').addEventListener('click', () => dialogs.remove(answer.data.filter((item) => selected.has(item.key))));
  byId('sort-select').addEventListener('change', (event) => go({ sorter: event.target.value, page: 1 }));
  byId('refine').addEventListener('click', () => setRefining(byId('refine').getAttribute('aria-expanded') === 'false'));
  setRefining(isRefined());
  byId('status-filter').addEventListener('change', () => {
    const statuses = [...byId('status-filter').querySelectorAll('input:checked')].map((box) => Number(box.value)).sort();
    go({ statuses, page: 1 });
  });
  addEventListener('popstate', () => {
    query = readQuery(location.search);
    wanted = readKey(location.search);
    drawControls();
    load();
    openWanted();
  });
  byId('item-dialog').addEventListener('close', () => {
    if (readKey(location.search) && !wanted) history.replaceState(null, '', writeQuery(query));
  });
  onLanguageChange(() => { drawControls(); draw(); });
  // It may have changed in another tab, as may the profile.
  document.addEventListener('visibilitychange', () => { if (!document.hidden) load(); });
  load();
  openWanted();
}

/** Whether a dialog is open; if so, the wanted item opens after it. */
function waitsForDialog() {
  const open = document.querySelector('dialog[open]');
  open?.addEventListener('close', openWanted, { once: true });
  return Boolean(open);
}

async function openWanted() {
  if (!wanted || waitsForDialog()) return;
  const key = wanted;
  const since = currentEra();
  try {
    const [item] = await readItems([key]);
    if (key !== wanted || since !== currentEra()) return;
    // One that was opened meanwhile keeps what was typed into it.
    if (waitsForDialog()) return;
    if (!item) return toast(t('items.notHere'), 'alert');
    wanted = null;
    dialogs.edit(item);
  } catch (error) {
    toast(errorText(error), 'alert');
  }
}

/** Loads the first page of another owner's list: that of a user who logged in, or the guest's. */
export function reloadForNewOwner() {
  selected.clear();
  answer = null;
  // The former search may be private.
  query = { ...query, name: '', page: 1 };
  byId('search').value = '';
  // Perhaps the item that the address names is in this list.
  if (!wanted) history.replaceState(null, '', writeQuery(query));
  drawControls();
  draw();
  announce('', 'items');
  load();
  openWanted();
}

async function load() {
  newest?.abort();
  const mine = newest = new AbortController();
  setBusy(true);
  try {
    const got = await listItems(query, mine.signal);
    if (!got.data.length && got.total > 0 && query.page > 1) {
      query.page = Math.min(query.page - 1, lastPage(got));
      history.replaceState(null, '', writeQuery(query));
      return await load();
    }
    answer = got;
    failure = null;
    const here = new Set(got.data.map((item) => item.key));
    for (const key of selected) if (!here.has(key)) selected.delete(key);
    announce(t(got.totalIsExact === false ? 'items.foundMore' : 'items.found', { count: got.total }), 'items');
  } catch (error) {
    if (isAborted(error)) return;
    answer = null;
    failure = error;
  } finally {
    if (newest === mine) { setBusy(false); draw(); }
  }
}

function go(changes, { replace = false } = {}) {
  // What was typed a moment ago is not searched for yet.
  query = { ...query, name: byId('search').value.trim(), ...changes };
  selected.clear();
  history[replace ? 'replaceState' : 'pushState'](null, '', writeQuery(query));
  drawControls();
  return load();
}

function draw() {
  const rows = answer?.data ?? [];
  const heldInList = byId('list-body').contains(document.activeElement);
  byId('skeleton').hidden = Boolean(answer || failure);
  byId('items').hidden = !rows.length;
  drawRows(rows, selected, { setStatus, edit: dialogs.edit, remove: (item) => dialogs.remove([item]), select });
  drawSelection();
  drawEmpty(Boolean(answer) && !rows.length);
  drawFailure();
  if (answer) drawPager(answer, { goTo: (page) => go({ page }).then(toTop), resize: (size) => go({ size, page: 1 }) });
  else byId('pager').hidden = true;
  if (heldInList && !document.activeElement?.checkVisibility()) byId('items-heading').focus({ preventScroll: true });
}

function drawControls() {
  const search = byId('search');
  if (document.activeElement !== search || search.value.trim() !== query.name) search.value = query.name;
  for (const box of byId('status-filter').querySelectorAll('input')) box.checked = query.statuses.includes(Number(box.value));
  const refine = byId('refine');
  refine.toggleAttribute('data-active', isRefined());
  refine.title = t(isRefined() ? 'items.refined' : 'items.refine');
  refine.setAttribute('aria-label', refine.title);
  drawSorting();
}

const isRefined = () => query.statuses.length > 0 || query.sorter !== DEFAULT_SORTER;

/** On a narrow screen, filter and order fold away. */
function setRefining(open) {
  byId('refine').setAttribute('aria-expanded', String(open));
}

function drawSorting() {
  const [field, order] = query.sorter.split('_');
  for (const head of document.querySelectorAll('th[data-sort]')) {
    const name = head.dataset.sort;
    const active = name === field;
    if (active) head.setAttribute('aria-sort', order === 'ascend' ? 'ascending' : 'descending');
    else head.removeAttribute('aria-sort');
    if (!head.firstChild) head.append(el('button', { type: 'button', class: 'sort', onclick: () => sortBy(name) }));
    head.firstChild.replaceChildren(t(`field.${name}`), icon(active && order === 'ascend' ? 'up' : 'down'));
  }
  byId('sort-select').replaceChildren(...SORT_FIELDS.flatMap((name) => ['descend', 'ascend'].map((way) => {
    const kind = name.endsWith('At') ? 'time' : name === 'status' ? 'status' : 'text';
    const value = `${name}_${way}`;
    return el('option', { value, selected: value === query.sorter }, t('items.sortBy', { field: t(`field.${name}`), order: t(`order.${kind}.${way}`) }));
  })));
}

function sortBy(field) {
  const [now, order] = query.sorter.split('_');
  const first = field.endsWith('At') ? 'descend' : 'ascend';
  const way = now !== field ? first : order === 'ascend' ? 'descend' : 'ascend';
  go({ sorter: `${field}_${way}`, page: 1 });
}

function setUpSearch() {
  const search = byId('search');
  let timer;
  const run = () => {
    clearTimeout(timer);
    const name = search.value.trim();
    if (name !== query.name) go({ name, page: 1 }, { replace: true });
  };
  const soon = (event) => {
    // While an input method is composing, the text is not final.
    if (event.isComposing) return;
    clearTimeout(timer);
    timer = setTimeout(run, TYPING_MS);
  };
  search.addEventListener('input', soon);
  search.addEventListener('compositionend', soon);
  search.addEventListener('keydown', (event) => { if (event.key === 'Enter' && !event.isComposing) run(); });
}

function drawEmpty(empty) {
  const box = byId('empty');
  box.hidden = !empty;
  if (!empty) return box.replaceChildren();
  const filtered = query.name || query.statuses.length;
  const action = filtered
    ? el('button', { type: 'button', class: 'button quiet', onclick: () => { go({ name: '', statuses: [], page: 1 }); byId('search').focus(); } }, t('items.clearFilters'))
    : el('button', { type: 'button', class: 'button primary', onclick: dialogs.create }, icon('plus'), t('items.new'));
  box.replaceChildren(
    forkCheck(),
    el('h3', {}, t(filtered ? 'items.noMatchTitle' : 'items.emptyTitle')),
    el('p', {}, t(filtered ? 'items.noMatchText' : 'items.emptyText')),
    action,
  );
}

function drawFailure() {
  const box = byId('list-error');
  box.hidden = !failure;
  if (!failure) return box.replaceChildren();
  box.replaceChildren(
    icon('alert'),
    el('div', { role: 'alert' }, el('h3', {}, t('items.failed')), el('p', {}, errorText(failure))),
    el('button', { type: 'button', class: 'button primary', onclick: load }, icon('refresh'), t('retry')),
    ...(failure.traceId ? [el('code', {}, `${failure.status} · ${t('error.trace', { id: failure.traceId })}`)] : []),
  );
}

const forkCheck = () => svg('svg', { class: 'fork-check', width: 108, height: 72, viewBox: '0 0 96 64', 'aria-hidden': 'true' },
  svg('path', { class: 'stem', d: 'M10 30l22 24' }),
  svg('path', { class: 'arm-1', d: 'M32 54C46 38 58 18 84 8' }),
  svg('path', { class: 'arm-2', d: 'M32 54C50 50 62 46 84 42' }),
  svg('circle', { cx: 32, cy: 54, r: 6 }));

function setBusy(busy) {
  byId('list-body').setAttribute('aria-busy', String(busy));
}

function toTop() {
  const heading = byId('items-heading');
  if (heading.getBoundingClientRect().top < 0) heading.scrollIntoView({ block: 'start' });
}

function select(key, on, range) {
  const keys = answer.data.map((item) => item.key);
  const from = range ? keys.indexOf(lastTicked) : -1;
  const to = keys.indexOf(key);
  const touched = from < 0 ? [key] : keys.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of touched) { if (on) selected.add(one); else selected.delete(one); }
  lastTicked = key;
  drawSelection();
}

function selectAll(on) {
  selected.clear();
  if (on) for (const item of answer?.data ?? []) selected.add(item.key);
  drawSelection();
}

function drawSelection() {
  for (const row of byId('rows').children) {
    const on = selected.has(row.dataset.key);
    row.toggleAttribute('data-selected', on);
    row.querySelector('[data-slot="select"]').checked = on;
  }
  const all = byId('select-all');
  all.checked = selected.size > 0 && selected.size === answer?.data.length;
  all.indeterminate = selected.size > 0 && !all.checked;
  // If the list failed to load, the selection is kept for the next one.
  byId('bulk').hidden = !selected.size || !answer;
  byId('bulk-count').textContent = t('items.selected', { count: selected.size });
}

async function setStatus(item, status) {
  if (writing.has(item.key)) return;
  writing.add(item.key);
  setRowBusy(item.key, true);
  const owner = currentOwner();
  let removeToast = () => {};
  try {
    const now = await carryOut({
      send: () => changeItem({ key: item.key, status }, owner),
      find: () => findChanged(item.key, { status }, owner),
      onUnknown: (error) => {
        const reason = t('unknown.checking', { reason: errorText(error) });
        removeToast = toast(phrase('error.of', { name: item.name, reason }), 'alert', { lasting: true });
      },
    });
    replaceItem(now);
    toast(phrase(`done.${status}`, { name: now.name }));
    load();
  } catch (error) {
    toast(failureText(error, item), 'alert');
    afterFailure(error);
  } finally {
    removeToast();
    writing.delete(item.key);
    setRowBusy(item.key, false);
  }
}

/** Loads the list again, if it may not show what is there. */
function afterFailure(error) {
  if (error.status === 404 || error.kind === 'absent' || error.kind === 'unknown') load();
}

function failureText(error, { name }) {
  if (error.status === 404) return phrase('items.gone', { name });
  const reason = errorText(error);
  const saysSo = ['absent', 'caller', 'unknown'].includes(error.kind);
  return phrase('error.of', { name, reason: saysSo ? reason : t('error.write', { reason }) });
}

function replaceItem(item) {
  if (!answer) return;
  answer.data = answer.data.map((old) => (old.key === item.key ? item : old));
  draw();
}

async function afterCreate(item) {
  toast(phrase('items.created', { name: item.name }));
  await go({ page: 1 }, { replace: true });
  flashRow(item.key);
}

async function afterChange(item) {
  toast(phrase('items.saved', { name: item.name }));
  replaceItem(item);
  await load();
  flashRow(item.key);
}

function afterDelete(items, deleted) {
  const keys = items.map((item) => item.key);
  for (const key of keys) selected.delete(key);
  if (answer) answer.data = answer.data.filter((item) => !keys.includes(item.key));
  const gone = items.filter((item) => !deleted.includes(item.key));
  if (deleted.length) toast(t('items.deleted', { count: deleted.length }));
  if (gone.length) toast(phrase(gone.length === 1 ? 'items.gone' : 'items.goneSome', { name: gone[0].name, count: gone.length }), 'alert');
  if (answer?.data.length) draw();
  load();
}

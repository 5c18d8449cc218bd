import { fetchProfile, listNotices, markNoticesRead, onCall, serviceTime } from './api.js';
import { openDialog } from './dialogs.js';
import { byId, el } from './dom.js';
import { formatAgo, formatMs, formatNumber, formatTime, onLanguageChange, phrase, t } from './i18n.js';
import { showEvent } from './mesh.js';
import { errorText } from './messages.js';
import { currentEra, currentOwner } from './owner.js';
import { parseServedBy } from './timing.js';

// A change's notice arrives later: where user is scaled to zero, after a cold start.
const LOOKS_MS = [1000, 2000, 4000, 8000];
const MOST_SHOWN = 99;
const LISTED = 20;

/** @type {import('./api.js').Notice[] | null} the newest, once they have been looked at */
let notices = null;
/** @type {number | null} null while it is not known */
let unread = null;
let error = null;
/** The ids of the notices whose events the panel has shown. */
const shown = new Set();
let timer = 0;
/** The number of the newest load. */
let newest = 0;
// Notices from before the page was loaded are not announced.
let since = Infinity;

/** Sets up the bell: it shows how many notices are unread, and opens their list. */
export function setUpNotices() {
  byId('bell').addEventListener('click', open);
  byId('notices-read').addEventListener('click', markRead);
  onLanguageChange(draw);
  onCall(({ method, path, failed, status }) => {
    if (method !== 'GET' && path === '/api/rule' && !failed && status < 300) lookSoon();
  });
  draw();
}

/**
 * Takes over the count of a new profile.
 * @param {import('./api.js').Profile | null} profile null when it is another person's, not known yet
 */
export function countNotices(profile) {
  if (!profile) {
    clearTimeout(timer);
    notices = null;
    byId('notices-dialog').close();
  }
  unread = profile ? profile.unreadCount ?? 0 : null;
  draw();
}

/** Looks for the notices of a change, until they are all there: a deletion of many items has one for each. */
function lookSoon() {
  since = Math.min(since, serviceTime() - 2000);
  const looks = [...LOOKS_MS];
  let found = false;
  const look = async () => {
    const before = shown.size;
    await load();
    const more = shown.size > before;
    // With events disabled no notice ever comes, so the number of looks is limited.
    if (looks.length && (more || !found)) timer = setTimeout(look, looks.shift());
    found ||= more;
  };
  clearTimeout(timer);
  timer = setTimeout(look, looks.shift());
}

async function load() {
  const mine = ++newest;
  const era = currentEra();
  // Overtaken by a newer one, or by a login: it may have been answered before they were marked as read.
  const isStale = () => mine !== newest || era !== currentEra();
  try {
    const found = await listNotices(currentOwner());
    if (isStale()) return;
    const fresh = found.filter(({ id }) => !shown.has(id)).filter(({ datetime }) => Date.parse(datetime) >= since);
    const listed = found.filter(({ read }) => !read).length;
    // The list may end before the unread notices do.
    const count = listed < LISTED ? listed : (await fetchProfile()).profile.unreadCount;
    if (isStale()) return;
    [notices, unread, error] = [found, count, null];
    for (const { id, event } of fresh.reverse()) {
      shown.add(id);
      showEvent({ type: event.type, source: event.source.replace('/', ''), takenBy: parseServedBy(event.takenBy), ms: event.seconds * 1000 });
    }
  } catch (reason) {
    if (isStale()) return;
    error = reason;
  }
  draw();
}

async function open() {
  openDialog(byId('notices-dialog'));
  await load();
}

async function markRead() {
  try {
    await markNoticesRead(currentOwner());
    // The button is about to be hidden.
    byId('notices-dialog').querySelector('[data-close]').focus();
    await load();
  } catch (reason) {
    error = reason;
    draw();
  }
}

function draw() {
  const bell = byId('bell');
  const label = unread ? t('notices.unread', { count: unread }) : t(unread === null ? 'notices.title' : 'notices.allRead');
  bell.setAttribute('aria-label', label);
  bell.title = label;
  byId('bell-count').hidden = !unread;
  byId('bell-count').textContent = unread > MOST_SHOWN ? `${formatNumber(MOST_SHOWN)}+` : formatNumber(unread);
  byId('notices-read').hidden = !unread;
  byId('notices-body').replaceChildren(...body());
}

function body() {
  if (error) return [el('p', { class: 'form-error', role: 'alert' }, errorText(error))];
  if (!notices?.length) return [el('p', { class: 'muted', role: 'status' }, t(notices ? 'notices.none' : 'notices.loading'))];
  return [el('ol', { class: 'scroll', tabindex: 0, 'aria-labelledby': 'notices-title', 'data-testid': 'notices' }, ...notices.map(line))];
}

function line({ datetime, read, event }) {
  const { service, version } = parseServedBy(event.takenBy) ?? {};
  return el('li', { class: read ? null : 'unread' },
    el('span', {}, ...phrase(`notices.${event.type.split('.').at(-1)}`, { name: event.name })),
    read ? null : el('span', { class: 'visually-hidden' }, t('notices.new')),
    el('small', {}, el('time', { datetime, title: formatTime(datetime) }, formatAgo(datetime, serviceTime())),
      ` · ${t('notices.way', { from: event.source.replace('/', ''), to: `${service} ${version}`, ms: formatMs(event.seconds * 1000) })}`));
}

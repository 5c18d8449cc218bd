import { onCall } from './api.js';
import { byId, el, icon } from './dom.js';
import { formatMs, formatNumber, formatPercent, hasText, onLanguageChange, t } from './i18n.js';
import { kindOf, MeshPicture } from './mesh-picture.js';
import { median, MeshStats } from './mesh-stats.js';
import { toast } from './messages.js';

// The number is the version of the stored format.
const STORED = 'todolist.mesh.1';

const stats = new MeshStats();
let picture;
let waiting = false;
let lesson = '';

/** Sets up the panel: it shows each call from now on. */
export function setUpMesh() {
  picture = new MeshPicture(byId('picture'));
  byId('mesh-reset').addEventListener('click', () => {
    stats.reset();
    store();
    draw();
    toast(t('mesh.wasReset'));
  });
  onCall((call) => {
    const hops = stats.add(call);
    // A proxy's local reply may lack the header that names the lesson.
    if (call.lesson || call.servedBy) showLesson(call.lesson);
    drawSoon();
    // A new version gets its edge with the next drawing.
    requestAnimationFrame(() => picture.pulse(call, hops));
  });
  onLanguageChange(draw);
  onLanguageChange(drawLesson);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) draw(); });
  addEventListener('pagehide', store);
  drawStored();
}

/** Shows an event's path. @param {import('./mesh-stats.js').Event} event */
export function showEvent(event) {
  if (!event.takenBy) return;
  const leaf = stats.addEvent(event);
  drawSoon();
  requestAnimationFrame(() => picture.pulseEvent(leaf));
}

/** Keeps the counts for a reload of this tab. */
function store() {
  try { sessionStorage.setItem(STORED, JSON.stringify(stats)); } catch { /* storage is blocked or full: the counts last for this page */ }
}

/** Draws what was counted before a reload; starts at zero if it cannot be read or drawn. */
function drawStored() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(STORED));
    if (stored) stats.restore(stored);
    draw();
  } catch {
    stats.reset();
    draw();
  }
}

function drawSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw() {
  picture.draw(stats);
  drawText();
  drawSplit();
  drawLog();
}

/** Shows the active lesson or riddle if it changed, so that a screen reader announces it once. */
function showLesson(name) {
  if (name === lesson) return;
  lesson = name;
  drawLesson();
}

function drawLesson() {
  const box = byId('lesson');
  const riddle = /^riddle-(\d+)$/.exec(lesson);
  if (riddle) return box.replaceChildren(el('b', {}, t('riddle.on', { number: Number(riddle[1]) })), el('p', {}, t('riddle.look')));
  const [title, look] = [`lesson.${lesson}`, `lesson.${lesson}.look`];
  if (!hasText(look)) return box.replaceChildren(...(lesson ? [el('b', {}, lesson)] : []));
  box.replaceChildren(el('b', {}, t('lesson.on', { number: Number.parseInt(lesson, 10), title: t(title) })), el('p', {}, t(look)));
}

function drawText() {
  const gateway = { ...stats.gateway, service: `${t('mesh.gateway')} todolist` };
  byId('mesh-text').replaceChildren(...[gateway, ...stats.leaves].map((leaf) => el('li', {}, textOf(leaf))),
    ...[...stats.lost].map(([service, count]) => el('li', {}, `${service}: ${t('mesh.failed', { count })}`)),
    ...[...stats.events].map(([id, { count, ms }]) => el('li', {}, t('mesh.events', { node: id.replace('-', ' '), count, ms: formatMs(ms) }))));
}

function textOf(leaf) {
  const node = [leaf.service, leaf.version].filter(Boolean).join(' ');
  if (leaf.count + leaf.failed === 0) return t('mesh.nodeNone', { node });
  const parts = !leaf.count ? [node] : [t('mesh.node', {
    node,
    calls: t('mesh.calls', { count: leaf.count }),
    median: formatMs(median(leaf.durations)),
    last: formatMs(leaf.durations.at(-1) ?? 0),
    pods: t('mesh.pods', { count: leaf.instances.size }),
  })];
  if (leaf.failed) parts.push(t('mesh.failed', { count: leaf.failed }));
  if (leaf.cold.count) parts.push(t('mesh.cold', { count: leaf.cold.count, ms: formatMs(leaf.cold.ms) }));
  return parts.join(t('mesh.comma'));
}

function drawSplit() {
  const versions = stats.of('user');
  const total = versions.reduce((sum, leaf) => sum + leaf.count, 0);
  const share = (leaf) => (total ? leaf.count / total : 0);
  const bar = byId('split-bar');
  if (bar.children.length !== versions.length) {
    bar.replaceChildren(...versions.map((leaf) => el('i', { class: kindOf(leaf, 'user'), 'data-testid': `split-${leaf.version}` })));
  }
  versions.forEach((leaf, index) => {
    bar.children[index].dataset.count = leaf.count;
    bar.children[index].style.flexGrow = String(share(leaf));
  });
  bar.dataset.count = total;
  const texts = versions.map((leaf) => t('mesh.share', { version: leaf.version, count: leaf.count, percent: formatPercent(share(leaf)) }));
  bar.setAttribute('aria-label', total ? texts.join(t('mesh.comma')) : t('mesh.splitNone'));
  const legend = (leaf, count) => el('span', { class: kindOf(leaf, 'user') },
    el('b', {}, leaf.version), count, el('em', {}, formatPercent(share(leaf))));
  byId('split-legend').replaceChildren(...(total ? versions.map((leaf) => legend(leaf, ` ${formatNumber(leaf.count)}`)) : [el('span', {}, t('mesh.splitNone'))]));
  byId('split-brief').replaceChildren(...(total ? versions.map((leaf) => legend(leaf, '')) : []));
  const [first, second] = byId('thread').children;
  first.style.flexGrow = total ? String(share(versions[0])) : '1';
  second.style.flexGrow = total ? String(1 - share(versions[0])) : '1';
}

function drawLog() {
  const list = byId('calls');
  if (!stats.calls.length) return list.replaceChildren(el('li', { class: 'none' }, t('log.none')));
  list.replaceChildren(...stats.calls.map(logLine));
}

function logLine(call) {
  if (call.takenBy) return eventLine(call);
  const path = decodeURI(call.path);
  let served = t(call.status ? 'log.byProxy' : 'log.noAnswer');
  if (call.servedBy) served = `${call.servedBy.service}/${call.servedBy.version}@${call.servedBy.instance}`;
  return el('li', { class: call.failed ? 'failed' : null, 'data-status': call.status },
    el('span', { class: 'log-method' }, call.method),
    el('span', { class: 'log-path', title: path }, path),
    el('span', { class: `log-status${call.status >= 400 || !call.status ? ' bad' : ''}` }, call.status ? String(call.status) : t('log.failed')),
    el('span', { class: 'log-ms' }, formatMs(call.ms)),
    el('span', { class: 'log-way' }, el('span', { class: 'log-via', title: served }, served), ...call.upstreams.map((upstream, index) => el('span', {
      class: `hop ${kindOf(upstream.version ? upstream : null, upstream.service)}${upstream.failed ? ' bad' : ''}`,
      title: upstream.version ? `${upstream.service}/${upstream.version}@${upstream.instance}` : t('log.noAnswer'),
    }, ...(call.cold[index] ? [icon('snow'), el('span', { class: 'visually-hidden' }, t('log.cold'))] : []),
    `${upstream.service} ${upstream.version ?? '✕'} ${formatMs(upstream.ms)}`))));
}

const eventLine = ({ type, source, takenBy, ms }) => el('li', { 'data-testid': 'event' },
  el('span', { class: 'log-method' }, t('log.event')),
  el('span', { class: 'log-path', title: type }, type),
  el('span', { class: 'log-ms' }, formatMs(ms)),
  el('span', { class: 'log-way' }, el('span', { class: 'log-via' }, t('log.eventWay')), el('span', { class: `hop kind-${source}` }, source),
    el('span', { class: `hop ${kindOf(takenBy, takenBy.service)}`, title: `${takenBy.service}/${takenBy.version}@${takenBy.instance}` }, `${takenBy.service} ${takenBy.version}`)));

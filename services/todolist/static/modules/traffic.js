import { isAborted, probe } from './api.js';
import { byId } from './dom.js';
import { formatWait, onLanguageChange, t } from './i18n.js';

const MOST_IN_FLIGHT = 4;
const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 30;
const STORED = 'todolist.rate';

/** Traffic only reads. After an error only the path that failed pauses. */
const targets = ['/api/currentUser', '/api/rule?pageSize=5'].map((path) => ({ path, wait: 0, waitUntil: 0, failures: 0, inFlight: 0 }));

let timer = 0;
let turn = 0;
let inFlight = 0;
let stopped = new AbortController();
let stoppedByHiding = false;

/** Sets up the switch and the slider of gentle traffic. */
export function setUpTraffic() {
  byId('traffic-toggle').addEventListener('click', () => (timer ? stop() : start()));
  // A range corrects a value that does not fit.
  try { byId('traffic-rate').value = localStorage.getItem(STORED) ?? byId('traffic-rate').value; } catch { /* private mode: the usual rate */ }
  byId('traffic-rate').addEventListener('input', () => {
    try { localStorage.setItem(STORED, byId('traffic-rate').value); } catch { /* private mode: the rate lasts for this page */ }
    if (timer) restartTimer();
    draw();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden || !timer) return;
    stop();
    stoppedByHiding = true;
    draw();
  });
  onLanguageChange(draw);
  draw();
}

const rate = () => Number(byId('traffic-rate').value);

function start() {
  stoppedByHiding = false;
  stopped = new AbortController();
  for (const target of targets) Object.assign(target, { waitUntil: 0, failures: 0, inFlight: 0 });
  restartTimer();
  draw();
}

function stop() {
  clearInterval(timer);
  timer = 0;
  stoppedByHiding = false;
  stopped.abort();
  draw();
}

function restartTimer() {
  clearInterval(timer);
  timer = setInterval(tick, 1000 / rate());
}

function tick() {
  const target = targets[turn++ % targets.length];
  const recovering = target.failures > 0;
  if (inFlight < MOST_IN_FLIGHT && performance.now() >= target.waitUntil && !(recovering && target.inFlight)) sendProbe(target);
  draw();
}

async function sendProbe(target) {
  const { signal } = stopped;
  inFlight += 1;
  target.inFlight += 1;
  try {
    await probe(target.path, signal);
    target.failures = 0;
  } catch (error) {
    // A client error such as 404 is no reason to pause; a service that is overloaded or unavailable is.
    if (!isAborted(error) && (error.status === 0 || error.status === 429 || error.status >= 500)) {
      const own = Math.min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** target.failures);
      target.failures += 1;
      target.wait = Math.max(own, error.retryAfter ?? 0);
      target.waitUntil = performance.now() + 1000 * target.wait;
    }
  } finally {
    inFlight -= 1;
    target.inFlight = Math.max(0, target.inFlight - 1);
  }
}

function draw() {
  const on = timer !== 0;
  const count = rate();
  byId('traffic-toggle').setAttribute('aria-checked', String(on));
  setText(byId('traffic-rate-out'), t('traffic.perSecond', { count }));
  byId('traffic-rate').setAttribute('aria-valuetext', t('traffic.perSecond', { count }));
  byId('traffic-rate').style.setProperty('--part', `${((count - 1) / 19) * 100}%`);
  const state = byId('traffic-state');
  state.dataset.state = stateName(on);
  setText(state, stateText(state.dataset.state, count));
}

function stateName(on) {
  if (!on) return stoppedByHiding ? 'hidden' : 'off';
  if (waitingTarget()) return 'backoff';
  return inFlight >= MOST_IN_FLIGHT ? 'busy' : 'on';
}

function stateText(name, count) {
  if (name !== 'backoff') return t(`traffic.${name}`, { count });
  const { path, wait } = waitingTarget();
  return t('traffic.backoff', { path: path.split('?')[0], time: formatWait(wait) });
}

const waitingTarget = () => targets.find((target) => target.waitUntil > performance.now());

// Screen readers read a live region again each time it is written.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

import { currentEra, currentOwner, storeCaller } from './owner.js';
import { parseServedBy, parseServerTiming } from './timing.js';

// Longer than any timeout of the gateway, so that its response comes first: it calls user for the keys of the session,
// then the requested service, and on Knative it waits up to 30 s for each of them to start (UPSTREAM_TIMEOUT).
const TIMEOUT_MS = 65_000;

/**
 * @typedef {object} Item
 * @property {string} key
 * @property {string} name
 * @property {string} desc
 * @property {0 | 1 | 2 | 3} status closed, in progress, done, paused
 * @property {string} createdAt
 * @property {string} updatedAt
 *
 * @typedef {{data: Item[], total: number, totalIsExact: boolean, pageSize: number, current: number}} ItemPage
 * @typedef {{name: string, avatar: string, userid: string, access: string, version: string, unreadCount: number}} Profile
 * @typedef {{id: string, datetime: string, read: boolean, event: {type: string, source: string, takenBy: string, seconds: number, name: string}}} Notice
 * @typedef {{key: string, name: string, authority: string}} Account
 *
 * @typedef {object} Call what one request of this page shows about its path
 * @property {string} method
 * @property {string} path with its query
 * @property {number} status 0 when there was no answer
 * @property {number} ms as this page measured it
 * @property {ReturnType<typeof parseServedBy>} servedBy
 * @property {import('./timing.js').Upstream[]} upstreams
 * @property {string} lesson the lesson that is on, such as "03-mirror"; empty if the answer names none
 * @property {boolean} failed
 */

/**
 * A failed request: an error response, an invalid one, or none at all. `caller`: a request that is meant for another
 * account; `absent`: a write that was looked up and not done; `unknown`: one that cannot be looked up (outcome.js).
 */
export class ApiError extends Error {
  /**
   * @param {'http' | 'network' | 'timeout' | 'protocol' | 'caller' | 'absent' | 'unknown'} kind
   * @param {{status?: number, problem?: any, retryAfter?: number | null, notSent?: boolean}} [facts]
   */
  constructor(kind, { status = 0, problem = {}, retryAfter = null, notSent = false } = {}) {
    super(problem?.detail || problem?.title || kind);
    this.kind = kind;
    this.status = status;
    this.detail = problem?.detail || problem?.title || '';
    this.fields = Array.isArray(problem?.errors) ? problem.errors : [];
    this.traceId = problem?.traceId ?? '';
    this.retryAfter = retryAfter;
    // Whether it is certain that no service got the request.
    this.notSent = notSent;
  }
}

/** @param {unknown} error @returns {boolean} whether the page itself cancelled the request */
export const isAborted = (error) => error instanceof DOMException && error.name === 'AbortError';

const listeners = new Set();
/** The keys of all items that this page has seen. */
const seen = new Set();
// By how much the clock of the service is ahead of the browser's.
let aheadMs = 0;

/** @param {(call: Call) => void} listener called after each request that was not cancelled */
export const onCall = (listener) => { listeners.add(listener); };

/**
 * A page of items.
 * @param {{page: number, size: number, sorter: string, statuses: number[], name: string}} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<ItemPage>}
 */
export async function listItems(query, signal) {
  const params = new URLSearchParams({ current: query.page, pageSize: query.size, sorter: query.sorter });
  if (query.statuses.length) params.set('status', query.statuses.join(','));
  if (query.name) params.set('name', query.name);
  return remember((await send('GET', `/api/rule?${params}`, { signal })).body);
}

/**
 * The items of these keys that are there, or an error of the kind `caller` if another account is logged in.
 * @param {string[]} keys at most 100
 * @param {string | null} [owner]
 * @returns {Promise<Item[]>}
 */
export async function readItems(keys, owner) {
  const params = new URLSearchParams({ key: keys.join(',') });
  return remember((await send('GET', `/api/rule?${params}`, { expected: owner })).body).data;
}

/**
 * Remembers what is there before an item is created, to recognize it afterwards.
 * @param {{name: string, desc: string}} item
 * @param {string} owner
 * @returns {() => Promise<Item | undefined>} looks for the item, if it has been created since; see readItems
 */
export function newItemFinder({ name, desc }, owner) {
  const before = new Set(seen);
  // The Date header has whole seconds, and the clocks of two services differ a little.
  const since = Date.now() + aheadMs - 5000;
  const params = new URLSearchParams({ sorter: 'createdAt_descend', pageSize: 100 });
  // `rule` rejects U+FFFD in a query: it stands for bytes that could not be decoded.
  if (!name.includes('\uFFFD')) params.set('name', name);
  return async () => remember((await send('GET', `/api/rule?${params}`, { expected: owner })).body).data.find((item) =>
    item.name.trim() === name && item.desc === desc && !before.has(item.key) && Date.parse(item.createdAt) >= since);
}

function remember(page) {
  for (const { key } of page.data ?? []) seen.add(key);
  return page;
}

/**
 * @param {{name: string, desc: string}} item
 * @param {string | null} owner for whom it is meant
 * @param {string} idempotencyKey the same for each attempt of the user: the service creates one item, and returns it as it now is
 * @returns {Promise<Item>}
 */
export async function createItem(item, owner, idempotencyKey) {
  const created = await write('POST', item, owner, { 'Idempotency-Key': idempotencyKey });
  seen.add(created.key);
  return created;
}

/**
 * @param {{key: string, name?: string, desc?: string, status?: number}} changes
 * @param {string | null} owner
 * @returns {Promise<Item>}
 */
export const changeItem = (changes, owner) => write('PUT', changes, owner);

/**
 * @param {string[]} keys at most 100
 * @param {string | null} owner
 * @returns {Promise<string[]>} the keys of those that were there until now
 */
export const deleteItems = async (keys, owner) => (await write('DELETE', { key: keys }, owner)).deleted ?? keys;

/** Sends a write with the owner it is meant for, so that the gateway rejects it when the session is another account's. */
const write = async (method, json, owner, headers) =>
  (await send(method, '/api/rule', { json, headers, expected: owner ?? await knownOwner() })).body;

async function knownOwner() {
  if (currentOwner() === null) {
    try {
      await fetchProfile();
    } catch (error) {
      if (currentOwner() === null) throw Object.assign(error, { notSent: true });
    }
  }
  return currentOwner();
}

/**
 * The profile, and the version of user that answered.
 * @param {AbortSignal} [signal]
 * @returns {Promise<{profile: Profile, version: string}>}
 */
export async function fetchProfile(signal) {
  const { body, call } = await send('GET', '/api/currentUser', { signal });
  const answered = call.upstreams.find((upstream) => upstream.service === 'user' && upstream.version);
  return { profile: body, version: answered?.version ?? body.version ?? '' };
}

/** @param {string} userName @param {string} password */
export async function logIn(userName, password) { await send('POST', '/api/login/account', { json: { userName, password } }); }

/** @param {string} userName @param {string} password */
export async function register(userName, password) { await send('POST', '/user/register', { json: { userName, password } }); }

/** @returns {Promise<void>} */
export async function logOut() { await send('POST', '/api/login/outLogin', { json: {} }); }

/** @returns {Promise<Account[]>} */
export const listAccounts = async () => (await send('GET', '/api/users')).body;

/** The newest 20 notices. @param {string | null} owner @returns {Promise<Notice[]>} */
export const listNotices = async (owner) => (await send('GET', '/api/notices', { expected: owner })).body;

/** @param {string | null} owner whose notices are all read */
export async function markNoticesRead(owner) { await send('PUT', '/api/notices', { json: { read: true }, expected: owner }); }

/** @returns {number} the services' current time, to about a second */
export const serviceTime = () => Date.now() + aheadMs;

/** Sends a GET request whose response body is ignored. @param {string} path @param {AbortSignal} signal */
export async function probe(path, signal) { await send('GET', path, { signal }); }

async function send(method, path, { json, signal, expected, headers } = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const started = performance.now();
  const since = currentEra();
  let response;
  try {
    response = await fetch(path, {
      method,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      cache: 'no-store',
      headers: {
        Accept: 'application/json',
        ...(json && { 'Content-Type': 'application/json' }),
        ...(expected && { 'X-Expected-Caller': expected }),
        ...headers,
      },
      body: json && JSON.stringify(json),
    });
  } catch (error) {
    if (signal?.aborted) throw new DOMException('cancelled', 'AbortError');
    report(method, path, started, null);
    throw new ApiError(timeout.aborted ? 'timeout' : 'network');
  }
  const call = report(method, path, started, response);
  const caller = response.headers.get('x-caller');
  storeCaller(caller, since);
  aheadMs = (Date.parse(response.headers.get('date')) || Date.now()) - Date.now();
  const body = await readBody(response, signal);
  if (!response.ok) {
    const isForAnother = expected && caller && caller !== expected && [401, 409].includes(response.status);
    throw new ApiError(isForAnother ? 'caller' : 'http', {
      status: response.status,
      problem: body,
      retryAfter: parseRetryAfter(response.headers.get('retry-after')),
      notSent: response.status === 503 && wasNotSent(response, call),
    });
  }
  if (body === undefined && response.status !== 204) throw new ApiError('protocol', { status: response.status });
  return { body, call };
}

/** Not sent: the circuit breaker of the ingress was open, or the gateway did not reach the service (its own 503). */
const wasNotSent = (response, call) => response.headers.has('x-envoy-overloaded') || Boolean(call.servedBy && !call.upstreams.at(-1)?.version);

async function readBody(response, signal) {
  try {
    return response.status === 204 ? undefined : await response.json();
  } catch {
    if (signal?.aborted) throw new DOMException('cancelled', 'AbortError');
    return undefined;
  }
}

function report(method, path, started, response) {
  const status = response?.status ?? 0;
  const call = {
    method,
    path,
    status,
    ms: performance.now() - started,
    servedBy: parseServedBy(response?.headers.get('x-served-by')),
    upstreams: parseServerTiming(response?.headers.get('server-timing') ?? null, status),
    lesson: response?.headers.get('x-lesson') ?? '',
    failed: status === 0 || status >= 500,
  };
  for (const listener of listeners) listener(call);
  return call;
}

function parseRetryAfter(value) {
  if (!value) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

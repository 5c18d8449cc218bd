import { parseServedBy, parseServerTiming } from './timing.js';

// Longer than any gateway needs, so that its answer wins: it calls user for the keys of the session, and then the
// service that was asked for, and on Knative it waits up to 30 s for each of them to start (UPSTREAM_TIMEOUT).
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
 * @typedef {{name: string, avatar: string, userid: string, access: string, version: string}} Profile
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

/** A failed request: an error response, an invalid one, or none at all. */
export class ApiError extends Error {
  /**
   * @param {'http' | 'network' | 'timeout' | 'protocol'} kind
   * @param {{status?: number, problem?: any, retryAfter?: number | null}} [facts]
   */
  constructor(kind, { status = 0, problem = {}, retryAfter = null } = {}) {
    super(problem?.detail || problem?.title || kind);
    this.kind = kind;
    this.status = status;
    this.detail = problem?.detail || problem?.title || '';
    this.fields = Array.isArray(problem?.errors) ? problem.errors : [];
    this.traceId = problem?.traceId ?? '';
    this.retryAfter = retryAfter;
  }
}

/** @param {unknown} error @returns {boolean} whether the page itself cancelled the request */
export const isAborted = (error) => error instanceof DOMException && error.name === 'AbortError';

const listeners = new Set();

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
  return (await send('GET', `/api/rule?${params}`, { signal })).body;
}

/** @param {{name: string, desc: string}} item @returns {Promise<Item>} */
export const createItem = async (item) => (await send('POST', '/api/rule', { json: item })).body;

/** @param {{key: string, name?: string, desc?: string, status?: number}} changes @returns {Promise<Item>} */
export const changeItem = async (changes) => (await send('PUT', '/api/rule', { json: changes })).body;

/** @param {string[]} keys at most 100 @returns {Promise<void>} */
export async function deleteItems(keys) { await send('DELETE', '/api/rule', { json: { key: keys } }); }

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

/** Sends a GET request whose response body is of no interest. @param {string} path @param {AbortSignal} signal */
export async function probe(path, signal) { await send('GET', path, { signal }); }

async function send(method, path, { json, signal } = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const started = performance.now();
  let response;
  try {
    response = await fetch(path, {
      method,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      cache: 'no-store',
      headers: json ? { 'Content-Type': 'application/json', Accept: 'application/json' } : { Accept: 'application/json' },
      body: json && JSON.stringify(json),
    });
  } catch (error) {
    if (signal?.aborted) throw new DOMException('cancelled', 'AbortError');
    report(method, path, started, null);
    throw new ApiError(timeout.aborted ? 'timeout' : 'network');
  }
  const call = report(method, path, started, response);
  const body = await readBody(response, signal);
  if (!response.ok) {
    throw new ApiError('http', { status: response.status, problem: body, retryAfter: parseRetryAfter(response.headers.get('retry-after')) });
  }
  if (body === undefined && response.status !== 204) throw new ApiError('protocol', { status: response.status });
  return { body, call };
}

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

import { ApiError } from './api.js';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
// How many lookups must miss a write before it counts as not done: it may still be in progress when a read is answered.
const LOOKUPS = 3;

/**
 * Sends a write. If its outcome is unknown, looks it up, again and again until the service responds; the write is never
 * sent again. What a lookup compares: for a new item `newItemFinder` in api.js, for others item-dialogs.js.
 * @template T
 * @param {object} options
 * @param {() => Promise<T>} options.send
 * @param {() => Promise<T | undefined>} options.find what `send` would have returned, if the write was done
 * @param {(error: ApiError) => void} options.onUnknown called before the lookup
 * @returns {Promise<T>}
 * @throws {ApiError} that of the write, if it changed nothing; a 404, if the item is gone; `absent`, if the lookup does
 *   not find the write; `unknown`, if no lookup is possible
 */
export async function carryOut({ send, find, onUnknown }) {
  try {
    return await send();
  } catch (error) {
    if (changedNothing(error)) throw error;
    onUnknown(error);
    const found = await lookUp(find);
    if (found === undefined) throw new ApiError('absent');
    return found;
  }
}

/**
 * @param {ApiError} error of a write
 * @returns {boolean} whether it changed nothing: the service refused it, or never got it
 */
export function changedNothing(error) {
  if (error.kind !== 'http') return error.kind === 'caller' || error.notSent === true;
  return error.status < 500 || error.status === 507 || error.notSent;
}

async function lookUp(find) {
  let failures = 0;
  let lookups = 1;
  while (true) {
    try {
      const found = await find();
      if (found !== undefined || lookups === LOOKUPS) return found;
      failures = 0;
      await pause(FIRST_PAUSE_MS * lookups);
      lookups += 1;
    } catch (error) {
      // A 404: the item was deleted, which is an outcome. `caller`: another account is logged in now, and cannot look it up.
      if (error.status === 404) throw error;
      if (error.kind === 'caller') throw new ApiError('unknown');
      await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures));
      failures += 1;
    }
  }
}

/** Waits `ms`, or until the browser is online again, if that is sooner. */
const pause = (ms) => new Promise((resolve) => {
  const timer = setTimeout(done, ms);
  addEventListener('online', done);
  function done() {
    clearTimeout(timer);
    removeEventListener('online', done);
    resolve();
  }
});

import { ApiError } from './api.js';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
// A write may still be in progress when the service answers a read: so many lookups before it counts as not done.
const LOOKS = 3;

/**
 * Sends a write. If the response leaves its outcome open, looks it up once the service responds, as often as needed;
 * the write is never sent again.
 * @template T
 * @param {object} options
 * @param {() => Promise<T>} options.send
 * @param {() => Promise<T | undefined>} options.find what `send` would have returned, if the write was done
 * @param {(error: ApiError) => void} options.onUnknown called when the looking up begins
 * @returns {Promise<T>}
 * @throws {ApiError} that of the write, if it changed nothing; a 404, if the item is gone; `absent`: looked up, and not done; `unknown`: it cannot be
 *   looked up
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
  for (let looks = 1; ;) {
    try {
      const found = await find();
      if (found !== undefined || looks === LOOKS) return found;
      failures = 0;
      await pause(FIRST_PAUSE_MS * looks);
      looks += 1;
    } catch (error) {
      // Deleted is an outcome, too. Another account's session may not look it up.
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

/** The guest, who owns the shared list; any other owner is the id of an account. */
export const GUEST = 'guest';

/**
 * Whose list this page shows and writes to: from the x-caller header of the gateway's last response.
 * @type {string | null} null until a response has named it
 */
let owner = null;
// A response to a request sent before the last change is stale.
let era = 0;
let switching = false;
const listeners = new Set();
const tabs = new BroadcastChannel('todolist.session');

/** @returns {string | null} the owner, or null while it is not known */
export const currentOwner = () => owner;

/** @returns {number} to be remembered with a request, for `storeCaller` */
export const currentEra = () => era;

/**
 * Calls back when the owner becomes known, or changes without `switchOwner`.
 * @param {(before: string | null) => void} listener
 */
export const onOwner = (listener) => { listeners.add(listener); };

/** Calls back when the session may have changed in another tab. @param {() => void} listener */
export const onOtherTab = (listener) => { tabs.onmessage = () => listener(); };

/**
 * Stores the caller that a response names.
 * @param {string | null} caller
 * @param {number} since the era in which the request was sent
 */
export function storeCaller(caller, since) {
  if (!caller || caller === owner || switching || since !== era) return;
  const before = owner;
  owner = caller;
  if (before !== null) changed();
  for (const listener of listeners) listener(before);
}

/**
 * Runs a login or a logout: afterwards the owner is unknown until a response names it.
 * @param {() => Promise<void>} act
 */
export async function switchOwner(act) {
  switching = true;
  try {
    await act();
    owner = null;
    changed();
  } finally {
    switching = false;
  }
}

function changed() {
  era += 1;
  tabs.postMessage('');
}

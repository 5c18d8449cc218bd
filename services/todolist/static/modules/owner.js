/** The guest, whose list everybody shares; any other owner is the id of an account. */
export const GUEST = 'guest';

/**
 * Whose list this page shows, and for whom it writes: the gateway's word in its last answer (x-caller).
 * @type {string | null} null while no answer has said so
 */
let owner = null;
// An answer to what was sent before the last change says nothing about now.
let era = 0;
let switching = false;
const listeners = new Set();
const tabs = new BroadcastChannel('todolist.session');

/** @returns {string | null} the owner, or null while it is not known */
export const currentOwner = () => owner;

/** @returns {number} to be remembered with a request, for `heard` */
export const currentEra = () => era;

/**
 * Calls back when the owner becomes known or changes, other than by `switchOwner`.
 * @param {(before: string | null) => void} listener
 */
export const onOwner = (listener) => { listeners.add(listener); };

/** Calls back when the session may have changed in another tab. @param {() => void} listener */
export const onOtherTab = (listener) => { tabs.onmessage = () => listener(); };

/**
 * Takes note of the caller that an answer names.
 * @param {string | null} caller
 * @param {number} since the era in which it was asked for
 */
export function heard(caller, since) {
  if (!caller || caller === owner || switching || since !== era) return;
  const before = owner;
  owner = caller;
  if (before !== null) changed();
  for (const listener of listeners) listener(before);
}

/**
 * Logs in or out on purpose: afterwards the owner is unknown until an answer names it.
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

const REMEMBERED = 60;
const COLD_MS = 250;
/**
 * In the name of each pod on Knative, and of each process that a call woke up on the laptop (deploy/local/activator.py).
 * Other instances were not started by a request: a slow first call to them is no cold start.
 */
const STARTED_ON_DEMAND = /-(deployment|woken)-/;
const CALLS_KEPT = 20;
const INSTANCES_KEPT = 100;

/**
 * What this page has seen of one version of a service.
 * @typedef {object} Leaf
 * @property {string} service
 * @property {string | null} version null until the first answer, for a service without known versions
 * @property {string} id such as "user-v1", or "rule" for the first version of a service
 * @property {number} count calls it answered
 * @property {number} failed calls that got a server error or no answer; of the gateway only those without an answer
 * @property {boolean} failing whether the newest call failed
 * @property {number[]} durations the newest ones, in ms
 * @property {Set<string>} instances
 * @property {string | null} lastInstance
 * @property {{count: number, ms: number}} cold
 */

/**
 * An event: its source, the process that received it, and the delay.
 * @typedef {{type: string, source: string, takenBy: {service: string, version: string, instance: string}, ms: number}} Event
 */

/** Counts calls by the path they took. */
export class MeshStats {
  /** Instances that this page has ever seen: resetting the counts does not make them cold again. */
  #seen = new Set();

  constructor() { this.reset(); }

  /** Starts counting again. */
  reset() {
    this.gateway = makeLeaf('todolist', null, 'todolist');
    /** @type {Leaf[]} */
    this.leaves = [makeLeaf('user', 'v1', 'user-v1'), makeLeaf('user', 'v2', 'user-v2'), makeLeaf('rule', null, 'rule')];
    /** Calls without a response, to services of which several versions are known. @type {Map<string, number>} */
    this.lost = new Map();
    /** Events by the version of user that took them. @type {Map<string, {count: number, ms: number}>} */
    this.events = new Map();
    /** @type {(import('./api.js').Call & {cold: boolean[]} | Event)[]} newest first */
    this.calls = [];
  }

  /**
   * Counts one call.
   * @param {import('./api.js').Call} call
   * @returns {{leaf: Leaf | null, service: string, failed: boolean, cold: boolean}[]} where it went behind the gateway
   */
  add(call) {
    this.#count(this.gateway, call.ms, call.servedBy?.instance ?? null, call.status === 0);
    if (call.servedBy) this.gateway.version = call.servedBy.version;
    const hops = call.upstreams.map((upstream) => this.#addUpstream(upstream));
    this.calls = [{ ...call, cold: hops.map((hop) => hop.cold) }, ...this.calls].slice(0, CALLS_KEPT);
    return hops;
  }

  /**
   * Counts one event.
   * @param {Event} event
   */
  addEvent(event) {
    const leaf = this.#leafOf(event.takenBy.service, event.takenBy.version);
    if (leaf) this.events.set(leaf.id, { count: (this.events.get(leaf.id)?.count ?? 0) + 1, ms: event.ms });
    this.calls = [event, ...this.calls].slice(0, CALLS_KEPT);
    return leaf;
  }

  /** @returns {object} what `restore` takes, of a limited size: of many pods only the newest */
  toJSON() {
    const plain = (leaf) => ({ ...leaf, instances: newest(leaf.instances) });
    return {
      gateway: plain(this.gateway),
      leaves: this.leaves.map(plain),
      lost: [...this.lost],
      events: [...this.events],
      calls: this.calls,
      seen: newest(this.#seen),
    };
  }

  /**
   * Continues from what `toJSON` returned.
   * @param {any} stored
   * @throws {TypeError} if it is something else; the counts are then undefined until a reset
   */
  restore(stored) {
    this.gateway = readLeaf(stored.gateway);
    this.leaves = stored.leaves.map(readLeaf);
    this.lost = new Map(stored.lost.map(([service, count]) => [String(service), toNumber(count)]));
    this.events = new Map(stored.events?.map(([id, { count, ms }]) => [String(id), { count: toNumber(count), ms: toNumber(ms) }]));
    this.calls = stored.calls.slice(0, CALLS_KEPT);
    this.#seen = new Set(stored.seen);
  }

  /** @param {string} service @returns {Leaf[]} its versions, in order */
  of(service) { return this.leaves.filter((leaf) => leaf.service === service); }

  /** @returns {string[]} the services behind the gateway, in order */
  services() { return [...new Set(this.leaves.map((leaf) => leaf.service))]; }

  #addUpstream(upstream) {
    const { service, version, instance, ms, failed } = upstream;
    const leaf = this.#leafOf(service, version);
    if (!leaf) {
      this.lost.set(service, (this.lost.get(service) ?? 0) + 1);
      return { leaf: null, service, failed: true, cold: false };
    }
    const cold = STARTED_ON_DEMAND.test(instance ?? '') && ms >= COLD_MS && !this.#seen.has(`${service}@${instance}`);
    if (instance) this.#seen.add(`${service}@${instance}`);
    if (cold) leaf.cold = { count: leaf.cold.count + 1, ms };
    this.#count(leaf, ms, instance, failed);
    return { leaf, service, failed, cold };
  }

  #leafOf(service, version) {
    const known = this.of(service);
    if (!version) return known.length === 1 ? known[0] : null;
    const match = known.find((leaf) => leaf.version === version) ?? known.find((leaf) => leaf.version === null);
    if (match) {
      match.version = version;
      return match;
    }
    const leaf = makeLeaf(service, version, known.length ? `${service}-${version}` : service);
    this.leaves.splice(this.leaves.findLastIndex((other) => other.service === service) + 1 || this.leaves.length, 0, leaf);
    return leaf;
  }

  #count(leaf, ms, instance, failed) {
    if (failed) leaf.failed += 1;
    leaf.failing = failed;
    if (!instance) return;
    leaf.count += 1;
    leaf.durations.push(ms);
    if (leaf.durations.length > REMEMBERED) leaf.durations.shift();
    leaf.instances.add(instance);
    leaf.lastInstance = instance;
  }
}

/** @param {number[]} values @returns {number} */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

const makeLeaf = (service, version, id) => ({
  service, version, id, count: 0, failed: 0, failing: false, durations: [], instances: new Set(), lastInstance: null, cold: { count: 0, ms: 0 },
});

const readLeaf = (stored) => ({
  service: String(stored.service),
  version: stored.version === null ? null : String(stored.version),
  id: String(stored.id),
  count: toNumber(stored.count),
  failed: toNumber(stored.failed),
  failing: Boolean(stored.failing),
  durations: stored.durations.map(toNumber).slice(-REMEMBERED),
  instances: new Set(stored.instances.map(String)),
  lastInstance: stored.lastInstance === null ? null : String(stored.lastInstance),
  cold: { count: toNumber(stored.cold.count), ms: toNumber(stored.cold.ms) },
});

const newest = (set) => [...set].slice(-INSTANCES_KEPT);

const toNumber = (value) => Number(value) || 0;

const REMEMBERED = 60;
const COLD_MS = 250;
const CALLS_KEPT = 20;

/**
 * What this page saw of one version of a service.
 * @typedef {object} Leaf
 * @property {string} service
 * @property {string | null} version null until the first answer, for a service without known versions
 * @property {string} id such as "user-v1", or "rule" for the first version of a service
 * @property {number} count calls it answered
 * @property {number} failed calls it answered with a server error, or did not answer
 * @property {boolean} failing whether the newest call failed
 * @property {number[]} durations the newest ones, in ms
 * @property {Set<string>} instances
 * @property {string | null} lastInstance
 * @property {{count: number, ms: number}} cold
 */

/** Counts calls by the path they took. */
export class MeshStats {
  /** Instances ever seen by this page: a reset of the counts makes none of them cold again. */
  #seen = new Set();

  constructor() { this.reset(); }

  /** Starts counting again. */
  reset() {
    this.gateway = makeLeaf('todolist', null, 'todolist');
    /** @type {Leaf[]} */
    this.leaves = [makeLeaf('user', 'v1', 'user-v1'), makeLeaf('user', 'v2', 'user-v2'), makeLeaf('rule', null, 'rule')];
    /** Calls to a service of several versions that no version answered. @type {Map<string, number>} */
    this.lost = new Map();
    /** @type {(import('./api.js').Call & {cold: boolean[]})[]} newest first */
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
    const cold = Boolean(instance) && ms >= COLD_MS && !this.#seen.has(`${service}@${instance}`);
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

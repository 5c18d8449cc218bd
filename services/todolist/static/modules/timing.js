/**
 * One call that the gateway made to answer a request, read from Server-Timing.
 * @typedef {object} Upstream
 * @property {string} service such as "user"
 * @property {string | null} version such as "v1"; null when there was no answer
 * @property {string | null} instance the pod or host:port; null when there was no answer
 * @property {number} ms as the gateway measured it
 * @property {boolean} failed
 */

/**
 * Reads an x-served-by value.
 * @param {string | null | undefined} value such as "user/v1@127.0.0.1:3003"
 * @returns {{service: string, version: string, instance: string} | null}
 */
export function parseServedBy(value) {
  const match = /^([^/@\s]+)\/([^@\s]+)@(\S+)$/.exec(value?.trim() ?? '');
  return match && { service: match[1], version: match[2], instance: match[3] };
}

// As todolist writes it: user;dur=8.4;desc="user/v1@127.0.0.1:3012", without desc if there was no answer.
const ENTRY = /([^\s,;"]+);dur=([\d.]+)(?:;desc="([^"]*)")?/g;

/**
 * Reads a Server-Timing header.
 * @param {string | null} header
 * @param {number} [status] of the answer; a server error means that the last upstream call failed
 * @returns {Upstream[]}
 */
export function parseServerTiming(header, status = 200) {
  const entries = [...(header ?? '').matchAll(ENTRY)].map(([, service, ms, servedBy]) => {
    const server = parseServedBy(servedBy);
    return { service, version: server?.version ?? null, instance: server?.instance ?? null, ms: Number(ms), failed: !server };
  });
  if (status >= 500 && entries.length) entries.at(-1).failed = true;
  return entries;
}

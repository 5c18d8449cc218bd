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

/**
 * Reads a Server-Timing header.
 * @param {string | null} header
 * @param {number} [status] of the answer; a server error means that the last upstream call failed
 * @returns {Upstream[]}
 */
export function parseServerTiming(header, status = 200) {
  const entries = splitOutsideQuotes(header ?? '', ',').map((entry) => {
    const [service, ...params] = splitOutsideQuotes(entry, ';');
    const values = Object.fromEntries(params.map(parseParameter));
    const server = parseServedBy(values.desc);
    return {
      service: service.toLowerCase(),
      version: server?.version ?? null,
      instance: server?.instance ?? null,
      ms: Number(values.dur) || 0,
      failed: !server,
    };
  });
  if (status >= 500 && entries.length) entries.at(-1).failed = true;
  return entries;
}

function parseParameter(param) {
  const [name, ...rest] = param.split('=');
  const value = rest.join('=').trim();
  return [name.trim().toLowerCase(), value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value];
}

function splitOutsideQuotes(text, separator) {
  const parts = text.match(new RegExp(`(?:"(?:\\\\.|[^"\\\\])*"|[^"${separator}])+`, 'g')) ?? [];
  return parts.map((part) => part.trim()).filter(Boolean);
}

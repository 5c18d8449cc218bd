/** Pages reach only this many items; the rule service refuses later pages. */
export const WINDOW = 10_000;
export const PAGE_SIZES = [10, 20, 50, 100];
export const SORT_FIELDS = ['name', 'status', 'createdAt', 'updatedAt'];
export const DEFAULT_SORTER = 'createdAt_descend';

/**
 * What the list shows; it is kept in the address, for reloads and the back button.
 * @typedef {{name: string, statuses: number[], sorter: string, page: number, size: number}} ListQuery
 */

/**
 * Reads the query from an address; invalid values become the defaults.
 * @param {string} search such as "?q=milk&status=1,3"
 * @returns {ListQuery}
 */
export function readQuery(search) {
  const params = new URLSearchParams(search);
  const sorter = params.get('sort') ?? '';
  const size = PAGE_SIZES.includes(Number(params.get('size'))) ? Number(params.get('size')) : 20;
  const page = Math.trunc(Number(params.get('page'))) || 1;
  return {
    name: (params.get('q') ?? '').trim().slice(0, 200),
    statuses: [0, 1, 2, 3].filter((status) => (params.get('status') ?? '').split(',').includes(String(status))),
    sorter: SORT_FIELDS.some((field) => [`${field}_ascend`, `${field}_descend`].includes(sorter)) ? sorter : DEFAULT_SORTER,
    page: Math.min(Math.max(1, page), WINDOW / size),
    size,
  };
}

/**
 * Reads the key of the item that an address is about: the `href` of an item.
 * @param {string} search such as "?key=12"
 * @returns {string | null} null also for what can be no key
 */
export const readKey = (search) => /^[^,]{1,64}$/.exec(new URLSearchParams(search).get('key') ?? '')?.[0] ?? null;

/**
 * Writes the query as an address, without the defaults.
 * @param {ListQuery} query
 * @returns {string}
 */
export function writeQuery(query) {
  const params = new URLSearchParams();
  if (query.name) params.set('q', query.name);
  if (query.statuses.length) params.set('status', query.statuses.join(','));
  if (query.sorter !== DEFAULT_SORTER) params.set('sort', query.sorter);
  if (query.page > 1) params.set('page', String(query.page));
  if (query.size !== 20) params.set('size', String(query.size));
  const text = params.toString().replaceAll('%2C', ',');
  // Absolute, because a path that begins with two slashes would be the address of another site.
  const page = location.origin + location.pathname;
  return text ? `${page}?${text}` : page;
}

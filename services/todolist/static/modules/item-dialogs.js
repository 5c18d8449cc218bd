import { ApiError, changeItem, createItem, deleteItems, newItemFinder, readItems } from './api.js';
import { clearErrors, handleForm, lengthOf, openDialog } from './dialogs.js';
import { byId, el, icon } from './dom.js';
import { t } from './i18n.js';
import { rowButton, STATUSES } from './item-rows.js';
import { toast } from './messages.js';
import { carryOut } from './outcome.js';
import { currentOwner, GUEST, onOwner } from './owner.js';
import { openLogin } from './session.js';

const NAMES_SHOWN = 5;
// As in rule/schemas.py.
const SEEN = /(?![\u115f\u1160\u3164\uffa0\u2800\ufffc\u{1d159}\u{13441}\u{13442}])(?:[\p{L}\p{N}\p{P}\p{S}]|(?=\p{Cn})[\u{10000}-\u{3ffff}])/u;

/** Without white space at the ends, as the service stores a name: U+0085 is such, too. */
const strip = (text) => text.trim().replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '');

/**
 * Sets up the dialogs that create, change and delete items. A dialog writes to the list whose owner was current when
 * it opened, even after a login or logout in another tab.
 * @param {object} done called after the service has confirmed the change
 * @param {(item: import('./api.js').Item) => void} done.created
 * @param {(item: import('./api.js').Item) => void} done.changed
 * @param {(items: import('./api.js').Item[], deleted: string[]) => void} done.deleted
 * @param {(error: unknown) => void} done.failed called when a change or a deletion failed
 * @returns {{create: () => void, edit: (item: import('./api.js').Item) => void, remove: (items: import('./api.js').Item[]) => void}} functions that open them
 */
export function setUpItemDialogs({ created, changed, deleted, failed }) {
  const form = byId('item-dialog').querySelector('form');
  /** @type {import('./api.js').Item | null} */
  let editing = null;
  let deleting = [];
  /** @type {string | null} */
  let meantFor = null;
  // The attempts to create one item: they share a key, and after one with an unknown outcome the item is looked up.
  let tries = newTries();

  const button = (text, onclick) => el('button', { type: 'button', class: 'button quiet', onclick }, t(text));
  const isForAnother = (error) => ['caller', 'unknown'].includes(error.kind) && meantFor !== currentOwner();
  const logInAgain = (error) => (isForAnother(error) && meantFor !== GUEST ? [button('session.login', openLogin)] : []);
  const createHere = (error) => {
    // Never offered for the shared list.
    if (!isForAnother(error) || editing || currentOwner() === GUEST) return [];
    return [button('item.createHere', () => {
      meantFor = currentOwner();
      tries = newTries();
      form.requestSubmit();
    })];
  };

  const showItemError = handleForm(byId('item-dialog'), {
    special: () => (editing ? { 404: 'item.gone' } : {}),
    offers: (error) => [...logInAgain(error), ...createHere(error)],
    check({ name, desc }) {
      const wrong = {};
      if (lengthOf(name) < 1 || lengthOf(name) > 200) wrong.name = t('invalid.name');
      else if (!SEEN.test(name)) wrong.name = t('refused.name');
      if (lengthOf(desc) > 2000) wrong.desc = t('invalid.desc');
      return wrong;
    },
    // The dialog closes without waiting for the list to reload.
    async submit(values, onUnknown) {
      const wanted = { name: strip(values.name), desc: strip(values.desc) };
      const owner = meantFor;
      if (editing) return void await change(editing, { ...wanted, status: Number(values.status) }, owner, onUnknown, () => toast(t('items.unchanged')));
      const { key, finders } = tries;
      const find = newItemFinder(wanted, owner);
      const item = await carryOut({ send: () => createItem(wanted, owner, key), find: () => firstFound(finders), onUnknown: (error) => {
        finders.push(find);
        onUnknown(error);
      } });
      // If an earlier try did create the item, it gets the form's values.
      await change(item, wanted, owner, onUnknown, created);
    },
  });

  async function change(item, wanted, owner, onUnknown, unchanged) {
    const changes = Object.fromEntries(Object.entries(wanted).filter(([field, value]) => item[field] !== value));
    if (!Object.keys(changes).length) return void unchanged(item);
    try {
      changed(await carryOut({
        send: () => changeItem({ key: item.key, ...changes }, owner),
        find: () => findChanged(item.key, changes, owner),
        onUnknown,
      }));
    } catch (error) {
      failed(error);
      throw error;
    }
  }

  const showDeleteError = handleForm(byId('confirm-dialog'), {
    special: () => ({ checking: 'unknown.checkingDelete', absent: 'unknown.stillThere', unknown: 'unknown.deleted' }),
    offers: logInAgain,
    async submit(_, onUnknown) {
      const items = deleting;
      const owner = meantFor;
      const keys = items.map((item) => item.key);
      try {
        const find = async () => ((await readItems(keys, owner)).length ? undefined : keys);
        deleted(items, await carryOut({ send: () => deleteItems(keys, owner), find, onUnknown }));
      } catch (error) {
        failed(error);
        throw error;
      }
    },
  });

  onOwner(() => {
    meantFor ??= currentOwner();
    for (const [dialog, show] of [[byId('item-dialog'), showItemError], [byId('confirm-dialog'), showDeleteError]]) {
      // What is being sent or looked up gets an answer of its own.
      if (!dialog.open || dialog.querySelector('form').getAttribute('aria-busy') !== 'false') continue;
      if (meantFor === currentOwner()) clearErrors(dialog);
      else show(new ApiError(dialog.id === 'item-dialog' && tries.finders.length ? 'unknown' : 'caller'));
    }
  });

  function openItem(item) {
    editing = item;
    meantFor = currentOwner();
    tries = newTries();
    byId('item-dialog-title').textContent = t(item ? 'item.editTitle' : 'items.new');
    byId('item-submit').textContent = t(item ? 'item.save' : 'item.create');
    byId('item-status').hidden = !item;
    byId('item-status').querySelector('.chips').replaceChildren(...statusRadios(item?.status ?? 1));
    form.elements.name.value = item?.name ?? '';
    form.elements.desc.value = item?.desc ?? '';
    openDialog(byId('item-dialog'), item ? rowButton(item.key, 'edit') : undefined);
    form.elements.name.focus();
  }

  return {
    create: () => openItem(null),
    edit: openItem,
    remove(items) {
      deleting = items;
      meantFor = currentOwner();
      byId('confirm-title').textContent = t('delete.title', { count: items.length });
      byId('confirm-text').textContent = t('delete.text');
      byId('confirm-submit').textContent = t('action.delete');
      const names = items.slice(0, NAMES_SHOWN).map((item) => el('li', {}, el('bdi', {}, item.name)));
      if (items.length > NAMES_SHOWN) names.push(el('li', { class: 'muted' }, t('delete.more', { count: items.length - NAMES_SHOWN })));
      byId('confirm-list').replaceChildren(...names);
      openDialog(byId('confirm-dialog'), rowButton(items[0].key, 'delete'));
    },
  };
}

// Not crypto.randomUUID, which only pages of https or localhost have. The quotes are the header's.
const newTries = () => ({ key: `"${crypto.getRandomValues(new Uint32Array(4)).join('-')}"`, finders: [] });

/** @param {(() => Promise<import('./api.js').Item | undefined>)[]} finders */
async function firstFound(finders) {
  for (const find of finders) {
    const item = await find();
    if (item) return item;
  }
}

const statusRadios = (current) => STATUSES.map(({ status, icon: name }) => {
  const input = el('input', { type: 'radio', name: 'status', value: status });
  input.checked = status === current;
  return el('label', { class: `chip status-${status}` }, input, el('span', {}, icon(name), t(`status.${status}`)));
});

/**
 * Looks up whether a change was made.
 * @param {string} key
 * @param {Record<string, unknown>} changes
 * @param {string | null} owner
 * @returns {Promise<import('./api.js').Item | undefined>} the item, if it is as it should be
 * @throws {ApiError} 404 if it is gone
 */
export async function findChanged(key, changes, owner) {
  const [item] = await readItems([key], owner);
  if (!item) throw new ApiError('http', { status: 404 });
  return Object.entries(changes).every(([field, value]) => item[field] === value) ? item : undefined;
}

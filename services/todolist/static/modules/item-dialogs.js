import { changeItem, createItem, deleteItems } from './api.js';
import { handleForm, lengthOf, openDialog } from './dialogs.js';
import { byId, el, icon } from './dom.js';
import { t } from './i18n.js';
import { rowButton, STATUSES } from './item-rows.js';
import { toast } from './messages.js';

const NAMES_SHOWN = 5;

/**
 * Sets up the dialogs that create, change and delete items.
 * @param {{created: (item: import('./api.js').Item) => void, changed: (item: import('./api.js').Item) => void, deleted: (keys: string[]) => void}} done called after the service has confirmed the change
 * @returns {{create: () => void, edit: (item: import('./api.js').Item) => void, remove: (items: import('./api.js').Item[]) => void}} functions that open them
 */
export function setUpItemDialogs({ created, changed, deleted }) {
  const form = byId('item-dialog').querySelector('form');
  /** @type {import('./api.js').Item | null} */
  let editing = null;
  let deleting = [];

  handleForm(byId('item-dialog'), {
    check({ name, desc }) {
      const wrong = {};
      if (lengthOf(name) < 1 || lengthOf(name) > 200) wrong.name = t('invalid.name');
      if (lengthOf(desc) > 2000) wrong.desc = t('invalid.desc');
      return wrong;
    },
    async submit(values) {
      const name = values.name.trim();
      const desc = values.desc.trim();
      // The dialog closes at once; the list reloads behind it.
      if (!editing) return void created(await createItem({ name, desc }));
      const wanted = { name, desc, status: Number(values.status) };
      const changes = Object.fromEntries(Object.entries(wanted).filter(([field, value]) => editing[field] !== value));
      if (!Object.keys(changes).length) return toast(t('items.unchanged'));
      changed(await changeItem({ key: editing.key, ...changes }));
    },
  });

  handleForm(byId('confirm-dialog'), {
    async submit() {
      const keys = deleting.map((item) => item.key);
      await deleteItems(keys);
      deleted(keys);
    },
  });

  function openItem(item) {
    editing = item;
    byId('item-dialog-title').textContent = t(item ? 'item.editTitle' : 'item.newTitle');
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
      byId('confirm-title').textContent = t('delete.title', { count: items.length });
      byId('confirm-text').textContent = t('delete.text');
      byId('confirm-submit').textContent = t('delete.submit');
      const names = items.slice(0, NAMES_SHOWN).map((item) => el('li', {}, item.name));
      if (items.length > NAMES_SHOWN) names.push(el('li', { class: 'muted' }, t('delete.more', { count: items.length - NAMES_SHOWN })));
      byId('confirm-list').replaceChildren(...names);
      openDialog(byId('confirm-dialog'), rowButton(items[0].key, 'delete'));
    },
  };
}

const statusRadios = (current) => STATUSES.map(({ status, icon: name }) => {
  const input = el('input', { type: 'radio', name: 'status', value: status });
  input.checked = status === current;
  return el('label', { class: `chip status-${status}` }, input, el('span', {}, icon(name), t(`status.${status}`)));
});

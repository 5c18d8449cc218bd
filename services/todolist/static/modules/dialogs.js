import { byId, el } from './dom.js';
import { formatNumber, hasText, phrase, t } from './i18n.js';
import { errorText, toast } from './messages.js';

/** @type {WeakMap<HTMLDialogElement, object>} distinguishes one opening of a dialog from the next */
const openings = new WeakMap();

/** What the forms held when their dialogs opened. @type {WeakMap<HTMLDialogElement, string>} */
const opened = new WeakMap();
/** @type {HTMLDialogElement} the dialog that the question is about */
let doubted;

/** Sets up what all dialogs share: how they close, fields of one line, and character counters. */
export function setUpDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target.closest('[data-close]') && !isBusy(dialog)) dialog.close();
    });
    const leave = (event) => {
      const loses = losesText(dialog);
      if (isBusy(dialog) || loses) event.preventDefault();
      if (isBusy(dialog) || !loses) return;
      doubted = dialog;
      openDialog(byId('discard-dialog'), () => null);
    };
    // A phone's back gesture fires only `cancel`; a second Esc without a click in between does not fire it.
    dialog.addEventListener('cancel', leave);
    dialog.addEventListener('keydown', (event) => { if (event.key === 'Escape' && !event.isComposing) leave(event); });
  }
  // The browser asks, in its own words, before a reload or a step back loses it.
  addEventListener('beforeunload', (event) => {
    if ([...document.querySelectorAll('dialog[open]')].some(losesText)) event.preventDefault();
  });
  handleForm(byId('discard-dialog'), { submit: async () => doubted.close() });
  for (const area of document.querySelectorAll('[data-line]')) {
    area.addEventListener('input', () => { if (/[\r\n]/.test(area.value)) area.value = area.value.replaceAll(/[\r\n]+/g, ' '); });
    area.addEventListener('beforeinput', (event) => {
      if (event.inputType !== 'insertLineBreak') return;
      event.preventDefault();
      area.form.requestSubmit();
    });
  }
  for (const counter of document.querySelectorAll('[data-counter]')) {
    const input = counter.closest('.field').querySelector('input, textarea');
    input.addEventListener('input', () => updateCounter(counter, input));
  }
}

/**
 * Opens a dialog without old error messages; afterwards the focus goes back to where it was, or to the fallback.
 * @param {HTMLDialogElement} dialog
 * @param {() => HTMLElement | null} [fallback] where the focus goes if its old place is gone
 */
export function openDialog(dialog, fallback = () => byId('items-heading')) {
  const before = document.activeElement;
  openings.set(dialog, {});
  clearErrors(dialog);
  setBusy(dialog.querySelector('form'), false);
  for (const counter of dialog.querySelectorAll('[data-counter]')) updateCounter(counter, counter.closest('.field').querySelector('input, textarea'));
  dialog.addEventListener('close', () => {
    // The browser has already restored the focus, and `close` fires later: the user may have moved it since.
    if (canHoldFocus(document.activeElement)) return;
    (canHoldFocus(before) ? before : fallback())?.focus();
  }, { once: true });
  opened.set(dialog, contentOf(dialog));
  dialog.showModal();
}

const canHoldFocus = (element) => Boolean(element?.isConnected) && element !== document.body && element.checkVisibility();

// What a password manager filled in was not typed.
const contentOf = (dialog) => JSON.stringify([...dialog.querySelectorAll('input, textarea')]
  .map((field) => (field.matches(':autofill') ? ['', false] : [field.value, Boolean(field.checked)])));

const losesText = (dialog) => contentOf(dialog) !== opened.get(dialog);

/**
 * Sends a dialog's form: one submit at a time, errors beside their fields until corrected; after a failure the form
 * keeps its text. While the outcome is unknown, the dialog says so, and may be closed.
 * @param {HTMLDialogElement} dialog
 * @param {object} options
 * @param {(values: Record<string, string>) => Record<string, string>} [options.check] field name to error text
 * @param {(values: Record<string, string>, onUnknown: (error: unknown) => void) => Promise<void>} options.submit see carryOut
 * @param {() => Record<number | string, string>} [options.special] texts for special statuses, see errorText
 * @param {(error: unknown) => HTMLElement[]} [options.offers] buttons beside an error
 * @returns {(error: unknown) => void} shows an error in the dialog
 */
export function handleForm(dialog, { check = () => ({}), submit, special = () => ({}), offers = () => [] }) {
  const form = dialog.querySelector('form');
  const showError = (error) => {
    showFormError(form, errorText(error, special()), error, offers(error));
    // About what was entered, so the next input may correct it.
    form.querySelector('.form-error').toggleAttribute('data-mendable', Boolean(error?.fields?.length || special()[error?.status]));
  };
  form.addEventListener('input', ({ target }) => {
    const field = target.closest('.field');
    if (field && !(target.name in check(Object.fromEntries(new FormData(form))))) clearField(field);
    const box = form.querySelector('.form-error');
    if ('mendable' in box.dataset) clearError(box);
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (isSending(dialog)) return;
    clearErrors(dialog);
    const values = Object.fromEntries(new FormData(form));
    const wrong = check(values);
    if (Object.keys(wrong).length) return showFieldErrors(form, wrong);
    setBusy(form, true);
    const opening = openings.get(dialog);
    const isStillOpen = () => dialog.open && openings.get(dialog) === opening;
    try {
      await submit(values, (error) => {
        form.setAttribute('aria-busy', 'unknown');
        showFormError(form, t(special().checking ?? 'unknown.checking', { reason: errorText(error) }), error);
      });
      if (isStillOpen()) dialog.close();
    } catch (error) {
      if (isStillOpen()) {
        showFieldErrors(form, fieldTexts(form, error));
        showError(error);
      } else {
        const reason = errorText(error, special());
        toast(values.name ? phrase('error.of', { name: values.name, reason }) : reason, 'alert');
      }
    } finally {
      if (openings.get(dialog) === opening) setBusy(form, false);
    }
  });
  return showError;
}

/** @param {string} text @returns {number} the number of characters, as the services count them */
export const lengthOf = (text) => [...text.trim()].length;

function fieldTexts(form, error) {
  const texts = {};
  for (const { field } of error?.fields ?? []) {
    const [name] = String(field ?? '').split('.');
    // The page has checked what it can: the service has another reason.
    const key = [`refused.${name}`, `invalid.${name}`, 'invalid.other'].find(hasText);
    if (form.elements[name]) texts[name] = t(key);
  }
  return texts;
}

function showFieldErrors(form, texts) {
  for (const [name, text] of Object.entries(texts)) {
    const input = form.elements[name];
    const field = (input.length && input[0]?.closest ? input[0] : input).closest('.field');
    const note = field.querySelector('.field-error');
    note.id = `${form.closest('dialog').id}-${name}-error`;
    note.textContent = text;
    note.hidden = false;
    field.classList.add('invalid');
    for (const node of field.querySelectorAll('input, textarea')) {
      node.setAttribute('aria-invalid', 'true');
      node.setAttribute('aria-describedby', note.id);
    }
  }
  form.querySelector('[aria-invalid]')?.focus();
}

function showFormError(form, text, error, offers = []) {
  const box = form.querySelector('.form-error');
  const trace = error?.status >= 500 && error.traceId ? el('code', {}, t('error.trace', { id: error.traceId })) : null;
  box.replaceChildren(el('span', {}, text), ...(trace ? [trace] : []), ...(offers.length ? [el('div', { class: 'offers' }, ...offers)] : []));
  delete box.dataset.mendable;
  box.hidden = false;
}

/** Removes all error messages. @param {HTMLDialogElement} dialog */
export function clearErrors(dialog) {
  for (const field of dialog.querySelectorAll('.field')) clearField(field);
  for (const box of dialog.querySelectorAll('.form-error')) clearError(box);
}

function clearField(field) {
  field.classList.remove('invalid');
  clearError(field.querySelector('.field-error'));
  for (const input of field.querySelectorAll('[aria-invalid]')) {
    input.removeAttribute('aria-invalid');
    input.removeAttribute('aria-describedby');
  }
}

function clearError(box) {
  box.hidden = true;
  box.textContent = '';
}

function updateCounter(counter, input) {
  const most = Number(counter.dataset.counter);
  const length = lengthOf(input.value);
  counter.textContent = `${formatNumber(length)} / ${formatNumber(most)}`;
  counter.classList.toggle('over', length > most);
}

const isBusy = (dialog) => dialog.querySelector('form')?.getAttribute('aria-busy') === 'true';
const isSending = (dialog) => isBusy(dialog) || dialog.querySelector('form').getAttribute('aria-busy') === 'unknown';

function setBusy(form, busy) {
  if (!form) return;
  form.setAttribute('aria-busy', String(busy));
  form.querySelector('[type=submit]').setAttribute('aria-disabled', String(busy));
}

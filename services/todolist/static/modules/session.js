import { ApiError, fetchProfile, isAborted, listAccounts, logIn, logOut, onCall, register } from './api.js';
import { clearErrors, handleForm, lengthOf, openDialog } from './dialogs.js';
import { byId, el, icon, prefersStill } from './dom.js';
import { onLanguageChange, phrase, t } from './i18n.js';
import { announce, errorText, toast } from './messages.js';
import { countNotices } from './notices.js';
import { changedNothing } from './outcome.js';
import { currentOwner, GUEST, onOtherTab, onOwner, switchOwner } from './owner.js';

/** @type {{profile: import('./api.js').Profile, version: string} | null} the newest profile */
let known = null;
/** Why the newest profile failed to load; null if it loaded. */
let loadError = null;
let newest = null;
let registering = false;
let lastName = '';
/** The key of the text that says how the session changed elsewhere; empty if there is nothing to say. */
let notice = '';
let ownerChanged = () => {};

/**
 * Sets up the session corner and loads the profile.
 * @param {{onOwnerChange: () => void}} options called when the list's owner has changed
 */
export function setUpSession({ onOwnerChange }) {
  ownerChanged = onOwnerChange;
  byId('profile-reload').addEventListener('click', () => loadProfile({ byHand: true }));
  byId('login').addEventListener('click', () => openAccount(false));
  byId('register').addEventListener('click', () => openAccount(true));
  byId('logout').addEventListener('click', leave);
  byId('users-open').addEventListener('click', openUsers);
  byId('profile-avatar').addEventListener('error', () => showAvatar(null));
  setUpAccountForm();
  onLanguageChange(draw);
  onCall(lookAgainWhenRefused);
  onLanguageChange(drawNotice);
  onOwner((before) => (before === null ? draw() : handleOwnerChange()));
  onOtherTab(loadProfile);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) loadProfile(); });
  loadProfile();
}

/** Opens the form to log in, with the name that was logged in last. */
export const openLogin = () => openAccount(false);

/** The session changed elsewhere: it ended, or another tab logged in or out. */
function handleOwnerChange() {
  notice = currentOwner() === GUEST ? 'session.expired' : 'session.another';
  forgetUser();
  loadProfile();
}

function drawNotice() {
  const box = byId('owner-notice');
  box.hidden = !notice;
  box.replaceChildren(...(notice ? [
    el('p', {}, t(notice)),
    ...(notice === 'session.expired' ? [el('button', { type: 'button', class: 'button quiet', onclick: openLogin }, t('session.login'))] : []),
    el('button', { type: 'button', class: 'button ghost', onclick: () => { notice = ''; drawNotice(); byId('items-heading').focus(); } }, t('close')),
  ] : []));
}

// A proxy that rejects the session removes its cookie, so the next profile is the guest's. Only once: a second
// rejection means that the cookie is still there.
let refused = false;
function lookAgainWhenRefused({ status, path }) {
  if (status !== 401) refused = false;
  else if (!refused && known && known.profile.userid !== GUEST && path !== '/api/login/account') {
    refused = true;
    loadProfile({ byHand: true });
  }
}

async function loadProfile({ byHand = false } = {}) {
  newest?.abort();
  const mine = newest = new AbortController();
  const button = byId('profile-reload');
  button.setAttribute('aria-busy', 'true');
  try {
    const before = known;
    known = await fetchProfile(mine.signal);
    loadError = null;
    countNotices(known.profile);
    draw();
    if (known.profile.userid !== GUEST) lastName = known.profile.name;
    if (before) animate(before);
    if (byHand) announce(t('session.now', { name: known.profile.name, version: known.version }), 'session');
  } catch (error) {
    if (isAborted(error)) return;
    loadError = error;
    draw();
    announce(`${t('session.away')}. ${errorText(error)}`, 'session');
  } finally {
    if (newest === mine) button.setAttribute('aria-busy', 'false');
  }
}

function draw() {
  const { profile, version } = known ?? { profile: null, version: '' };
  const owner = currentOwner();
  const isGuest = (owner ?? GUEST) === GUEST;
  const isAdmin = !isGuest && profile?.access === 'admin';
  byId('corner').classList.toggle('away', Boolean(loadError));
  byId('corner').dataset.version = loadError ? '' : version;
  byId('profile-name').textContent = profile?.name ?? (loadError ? t('session.awayName') : '');
  byId('profile-error').hidden = !loadError;
  byId('profile-error').title = loadError ? errorText(loadError) : '';
  byId('profile-reload').classList.toggle('quiet', Boolean(loadError));
  setLabel(byId('profile-reload'), t(loadError ? 'retry' : 'session.reload'));

  const badge = byId('profile-variant');
  badge.hidden = Boolean(loadError) || !version;
  badge.textContent = version;
  badge.dataset.version = version;
  badge.title = t('session.answered', { version });
  byId('profile-kind').textContent = loadError || !profile ? '' : t(`session.${isGuest ? 'guest' : isAdmin ? 'admin' : 'user'}`);
  showAvatar(profile?.avatar ?? null);

  const settled = Boolean(profile ?? loadError);
  byId('login').hidden = !settled || !isGuest;
  byId('register').hidden = !settled || !isGuest;
  byId('logout').hidden = isGuest;
  byId('users-open').hidden = !isAdmin;

  const note = byId('list-note');
  note.hidden = owner === null;
  note.textContent = owner === null ? '' : t(isGuest ? 'items.guestNote' : 'items.ownNote');
}

function setLabel(button, text) {
  button.setAttribute('aria-label', text);
  button.title = text;
}

function showAvatar(path) {
  const image = byId('profile-avatar');
  // The Content-Security-Policy blocks images of other origins, and the browser reports each in its console.
  const fits = path?.startsWith('/') && !path.startsWith('//');
  image.hidden = !fits;
  byId('profile-none').hidden = fits;
  if (fits && image.getAttribute('src') !== path) image.src = path;
}

function animate(before) {
  if (prefersStill()) return;
  const timing = { duration: 320, easing: 'cubic-bezier(.2, .8, .2, 1)' };
  byId('profile-variant').animate([{ transform: 'scale(.6)' }, { transform: 'scale(1.15)' }, { transform: 'none' }], timing);
  if (before.profile.name === known.profile.name) return;
  byId('profile-name').animate([{ transform: 'translateY(70%)', opacity: 0 }, { transform: 'none', opacity: 1 }], timing);
  byId('profile-avatar').animate([{ transform: 'rotateY(90deg)' }, { transform: 'none' }], timing);
}

function setUpAccountForm() {
  const dialog = byId('account-dialog');
  const form = dialog.querySelector('form');
  const { userName, password } = form.elements;

  handleForm(dialog, {
    special: () => (registering ? { 409: 'account.taken', unknown: 'account.unknown' } : { 401: 'account.wrong' }),
    // With the same name and password: that shows whether the account exists.
    offers: (error) => (error.kind !== 'unknown' ? [] : [el('button', { type: 'button', class: 'button quiet', onclick: () => {
      registering = false;
      drawAccount();
      form.requestSubmit();
    } }, t('session.login'))]),
    check: (values) => {
      const wrong = {};
      const nameLength = lengthOf(values.userName);
      const passwordLength = [...values.password].length;
      if (!registering) {
        if (!nameLength) wrong.userName = t('invalid.userNameMissing');
        if (!passwordLength) wrong.password = t('invalid.passwordMissing');
        return wrong;
      }
      if (nameLength < 2 || nameLength > 50) wrong.userName = t('invalid.userName');
      if (passwordLength < 8 || passwordLength > 128) wrong.password = t('invalid.password');
      return wrong;
    },
    async submit(values) {
      const name = values.userName.trim();
      await switchOwner(() => enter(registering ? register : logIn, name, values.password));
      form.reset();
      // The dialog closes without waiting for the profile, which shows who is logged in now.
      switchUser().then(() => {
        if (currentOwner() === GUEST) toast(t('session.noCookie'), 'alert');
        else toast(phrase('session.welcome', { name }));
      });
    },
  });

  byId('account-other').addEventListener('click', () => {
    registering = !registering;
    // The errors of one form do not apply to the other.
    clearErrors(dialog);
    drawAccount();
    userName.focus();
  });
  byId('password-show').addEventListener('click', () => {
    showPassword(password.type === 'password');
    password.focus();
  });
  dialog.addEventListener('close', () => { password.value = ''; });
}

async function enter(act, name, password) {
  const before = currentOwner();
  try {
    await act(name, password);
  } catch (error) {
    if (changedNothing(error)) throw error;
    // It may have been done: the profile names who is logged in now.
    const { profile } = await fetchProfile().catch(() => ({ profile: null }));
    if (profile && ![before, GUEST].includes(profile.userid)) return;
    throw act === register ? new ApiError('unknown') : error;
  }
}

function showPassword(visible) {
  byId('account-password').type = visible ? 'text' : 'password';
  byId('password-show').setAttribute('aria-pressed', String(visible));
}

function openAccount(toRegister) {
  registering = toRegister;
  drawAccount();
  showPassword(false);
  const { userName, password } = byId('account-dialog').querySelector('form').elements;
  // Before the dialog opens: it is not what was entered.
  if (!toRegister) userName.value ||= lastName;
  openDialog(byId('account-dialog'));
  (userName.value ? password : userName).focus();
}

function drawAccount() {
  const mode = registering ? 'register' : 'login';
  byId('account-title').textContent = t(registering ? 'account.registerTitle' : 'session.login');
  byId('account-line').textContent = t(`account.${mode}Line`);
  byId('account-submit').textContent = t(`session.${mode}`);
  byId('account-other').textContent = t(registering ? 'account.toLogin' : 'account.toRegister');
  byId('account-password').autocomplete = registering ? 'new-password' : 'current-password';
  for (const hint of byId('account-dialog').querySelectorAll('[data-register]')) hint.hidden = !registering;
}

async function leave() {
  const button = byId('logout');
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await switchOwner(logOut);
    lastName = '';
    toast(t('session.bye'));
    await switchUser();
    byId('login').focus();
  } catch (error) {
    toast(errorText(error), 'alert');
    // It may have been done: the profile names who is logged in now.
    if (!changedNothing(error)) loadProfile();
  } finally {
    button.setAttribute('aria-busy', 'false');
  }
}

async function switchUser() {
  notice = '';
  forgetUser();
  await loadProfile();
}

/** If the new profile fails to load, the page must not show the old one. */
function forgetUser() {
  known = null;
  countNotices(null);
  byId('users-dialog').close();
  draw();
  drawNotice();
  ownerChanged();
}

async function openUsers() {
  const body = byId('users-body');
  body.replaceChildren(el('p', { class: 'muted' }, t('users.loading')));
  openDialog(byId('users-dialog'));
  try {
    const accounts = await listAccounts();
    const head = (key) => el('th', { scope: 'col' }, t(key));
    body.replaceChildren(
      el('p', { class: 'muted' }, t('users.count', { count: accounts.length })),
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-labelledby': 'users-title' },
        el('table', { 'data-testid': 'users-list' },
          el('thead', {}, el('tr', {}, head('users.name'), head('users.authority'))),
          el('tbody', {}, ...accounts.map(accountRow)))),
    );
  } catch (error) {
    body.replaceChildren(el('p', { class: 'form-error', role: 'alert' }, errorText(error)),
      el('button', { type: 'button', class: 'button quiet', onclick: () => { byId('users-dialog').close(); openUsers(); } }, icon('refresh'), t('retry')));
  }
}

const accountRow = ({ name, authority }) => el('tr', {},
  el('td', {}, el('bdi', {}, name)),
  el('td', {}, el('span', { class: `pill ${authority === 'admin' ? 'status-1' : 'status-0'}` }, t(authority === 'admin' ? 'session.admin' : 'users.role.user'))));

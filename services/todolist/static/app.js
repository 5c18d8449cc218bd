import { setUpDialogs } from './modules/dialogs.js';
import { translatePage } from './modules/i18n.js';
import { reloadForNewOwner, setUpItems } from './modules/items.js';
import { setUpMesh } from './modules/mesh.js';
import { setUpMessages } from './modules/messages.js';
import { setUpNotices } from './modules/notices.js';
import { setUpPreferences } from './modules/preferences.js';
import { setUpSession } from './modules/session.js';
import { setUpTraffic } from './modules/traffic.js';

translatePage();
// Not as the browser does it: a new address would load the list again.
document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  const place = document.querySelector(link.hash);
  place.focus({ preventScroll: true });
  place.closest('.card').scrollIntoView();
});
setUpPreferences();
setUpMessages();
setUpDialogs();
// Before anything is fetched, so that the first calls show up too.
setUpMesh();
setUpNotices();
setUpSession({ onOwnerChange: reloadForNewOwner });
setUpItems();
setUpTraffic();
document.documentElement.dataset.ready = '';

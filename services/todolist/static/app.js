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

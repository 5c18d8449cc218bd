import { setUpDialogs } from './modules/dialogs.js';
import { drawIcons } from './modules/dom.js';
import { translatePage } from './modules/i18n.js';
import { reloadForNewOwner, setUpItems } from './modules/items.js';
import { setUpMesh } from './modules/mesh.js';
import { setUpPreferences } from './modules/preferences.js';
import { setUpSession } from './modules/session.js';
import { setUpTraffic } from './modules/traffic.js';

drawIcons();
translatePage();
setUpPreferences();
setUpDialogs();
// Before anything is fetched, so that the first calls show up too.
setUpMesh();
setUpSession({ onOwnerChange: reloadForNewOwner });
setUpItems();
setUpTraffic();

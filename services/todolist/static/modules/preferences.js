import { currentLanguage, setLanguage } from './i18n.js';

const THEME = 'todolist.theme';

/** Sets up the language and theme switches. */
export function setUpPreferences() {
  wire('lang', currentLanguage(), setLanguage);
  wire('theme', document.documentElement.dataset.theme ?? 'auto', setTheme);
}

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  try { localStorage.setItem(THEME, theme); } catch { /* private mode: the choice lasts for this page */ }
}

function wire(name, current, change) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    input.checked = input.value === current;
    input.addEventListener('change', () => change(input.value));
  }
}

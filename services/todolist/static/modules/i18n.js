import en from '../locales/en.js';
import zh from '../locales/zh.js';

const LOCALES = { en: { tag: 'en', texts: en }, zh: { tag: 'zh-CN', texts: zh } };
const STORED = 'todolist.lang';
// The longest part of a name that a sentence quotes.
const NAME_SHOWN = 40;
const listeners = new Set();

let language = document.documentElement.lang.startsWith('zh') ? 'zh' : 'en';
let formats = makeFormats();

/** @returns {'en' | 'zh'} the language in use */
export const currentLanguage = () => language;

/**
 * Switches the whole page to another language and remembers it.
 * @param {'en' | 'zh'} next
 */
export function setLanguage(next) {
  language = next;
  formats = makeFormats();
  try { localStorage.setItem(STORED, next); } catch { /* private mode: the choice lasts for this page */ }
  translatePage();
  for (const listener of listeners) listener();
}

/**
 * Calls back after each change of language, for text that is not in the markup.
 * @param {() => void} listener
 */
export const onLanguageChange = (listener) => { listeners.add(listener); };

/**
 * The text of a key in the current language.
 * @param {string} key
 * @param {Record<string, string | number>} [values] for the {placeholders}; `count` also chooses the plural
 * @returns {string} the key itself if there is no text for it
 */
export function t(key, values = {}) {
  let text = LOCALES[language].texts[key];
  if (text && typeof text === 'object') {
    const one = values.count === 1 && text.one;
    text = one || (text[formats.plural.select(Number(values.count ?? 0))] ?? text.other);
  }
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (place, name) => {
    const value = values[name] ?? place;
    return typeof value === 'number' ? formats.number.format(value) : value;
  });
}

/**
 * The same in parts, for the page: each text that is filled in, such as a name, is isolated, so that its direction does
 * not reach the rest of the sentence. A long name is cut.
 * @param {string} key
 * @param {Record<string, string | number>} values
 * @returns {(string | Node)[]}
 */
export function phrase(key, values) {
  // No name has this character, see rule/schemas.py.
  const marked = Object.entries(values).map(([name, value]) =>
    [name, typeof value === 'number' ? value : `\0${name === 'name' ? cut(value) : value}\0`]);
  return t(key, Object.fromEntries(marked)).split('\0').map((part, index) => {
    if (index % 2 === 0) return part;
    const isolated = document.createElement('bdi');
    isolated.textContent = part;
    return isolated;
  });
}

const cut = (name) => ([...name].length > NAME_SHOWN ? `${[...name].slice(0, NAME_SHOWN - 1).join('').trim()}…` : name);

/** @param {string} key @returns {boolean} whether there is a text of this key */
export const hasText = (key) => key in LOCALES[language].texts;

/** Translates the title, the language attribute and the markup, whose data-text, -label, -title and -placeholder name texts. */
export function translatePage() {
  document.documentElement.lang = LOCALES[language].tag;
  document.title = t('title');
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', t(node.dataset.label));
  for (const node of document.querySelectorAll('[data-title]')) node.title = t(node.dataset.title);
  for (const node of document.querySelectorAll('[data-placeholder]')) node.placeholder = t(node.dataset.placeholder);
}

/** @param {number} value @returns {string} such as 10,000 */
export const formatNumber = (value) => formats.number.format(value);

/** @param {number} share between 0 and 1 @returns {string} such as 48% */
export const formatPercent = (share) => formats.percent.format(share);

/** @param {number} ms @returns {string} such as 7.4 ms, 128 ms or 1,240 ms */
export const formatMs = (ms) => `${(ms < 9.95 ? formats.tenths : formats.number).format(ms)} ms`;

/** @param {number} seconds @returns {string} such as 4 seconds or 14 minutes */
export function formatWait(seconds) {
  return seconds < 90 ? formats.seconds.format(Math.max(1, Math.ceil(seconds))) : formats.minutes.format(Math.ceil(seconds / 60));
}

/** @param {string} iso @returns {string} the full date and time, in the browser's time zone */
export const formatTime = (iso) => formats.time.format(new Date(iso));

/**
 * @param {string} iso
 * @param {number} now by the clock that the time is from
 * @returns {string} such as 3 minutes ago
 */
export function formatAgo(iso, now) {
  const seconds = Math.min(0, (Date.parse(iso) - now) / 1000);
  const steps = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];
  let value = seconds;
  for (const [unit, size] of steps) {
    if (Math.abs(value) < size) {
      // Seconds would change at each update: "now" is enough.
      return unit === 'second' ? formats.now.format(0, unit) : formats.ago.format(Math.ceil(value), unit);
    }
    value /= size;
  }
}

function makeFormats() {
  const { tag } = LOCALES[language];
  const unit = (name) => new Intl.NumberFormat(tag, { style: 'unit', unit: name, unitDisplay: 'long' });
  return {
    plural: new Intl.PluralRules(tag),
    number: new Intl.NumberFormat(tag, { maximumFractionDigits: 0 }),
    tenths: new Intl.NumberFormat(tag, { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    // Of 37.5 and 62.5 one is rounded up and the other down, so that both make 100.
    percent: new Intl.NumberFormat(tag, { style: 'percent', maximumFractionDigits: 0, roundingMode: 'halfEven' }),
    seconds: unit('second'),
    minutes: unit('minute'),
    time: new Intl.DateTimeFormat(tag, { dateStyle: 'full', timeStyle: 'medium' }),
    now: new Intl.RelativeTimeFormat(tag, { numeric: 'auto' }),
    // Always with a number: 47 hours are one whole day, but may have begun on the day before yesterday.
    ago: new Intl.RelativeTimeFormat(tag, { style: 'short' }),
  };
}

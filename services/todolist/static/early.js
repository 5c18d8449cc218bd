// Runs before the first paint, so that the page does not flash in the wrong theme or language.
(() => {
  const read = (name) => {
    try { return localStorage.getItem(name); } catch { return null; }
  };
  const root = document.documentElement;
  const wanted = [read('todolist.lang'), ...navigator.languages].find((tag) => /^(zh|en)\b/i.test(tag ?? ''));
  root.lang = /^zh/i.test(wanted ?? '') ? 'zh-CN' : 'en';
  const theme = read('todolist.theme');
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  root.dataset.langKnown = '';
  // A script or a style that is missing, or a script that fails before the page is ready: the page shows a message.
  addEventListener('error', ({ target }) => {
    const isPart = target instanceof Element && target.matches('script, [rel="stylesheet"], [rel="modulepreload"]');
    if (isPart || (target === window && !('ready' in root.dataset))) root.dataset.broken = '';
  }, true);
})();

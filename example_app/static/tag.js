/* Counts page views. It runs only after consent; the server checks again. */
(() => {
  "use strict";
  const known = /(?:^|; )_tally=([^;]+)/.exec(document.cookie);
  const number = known ? known[1] : crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `_tally=${number}; path=/; max-age=15552000; samesite=lax${secure}`;
  fetch("/metrics/hit", { method: "POST", body: new URLSearchParams({ path: location.pathname }) });
})();

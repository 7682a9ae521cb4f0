/* Announcements and notices at collection: hides what was acknowledged, shows what is for one person, answers
   in place. Everything but announcements to a selection also works without this file, by plain forms. */
(() => {
  "use strict";
  if (window.consentkitNotices) return;
  window.consentkitNotices = true;

  const ONE = "[data-consent-announcement]";
  const ASK = "[data-consent-ask]";
  const find = (selector, from = document) => from.querySelector(selector);
  const bar = find("[data-consent-announcements]");
  const all = () => [...bar.querySelectorAll(ONE)];
  const idOf = (one) => `${one.dataset.consentAnnouncement}.${one.dataset.ordinal}`;

  const tidy = () => {
    bar.hidden = all().every((one) => one.hidden);
  };

  async function post(form, extra) {
    const body = new URLSearchParams(new FormData(form));
    for (const [name, value] of Object.entries(extra)) body.set(name, value);
    const headers = { Accept: "application/json" };
    const response = await fetch(form.getAttribute("action"), { method: "POST", body, headers });
    if (!response.ok) throw response;
    return response.json();
  }

  /* ---- announcements ---- */

  /* Before the first paint, by a cookie that only this script reads; the server has the last word. */
  function hideSeen() {
    const seen = (/(?:^|; )consent_seen=([^;]*)/.exec(document.cookie) || ["", ""])[1].split("~");
    for (const one of all()) one.hidden = seen.includes(idOf(one));
    tidy();
  }

  function made(item) {
    const one = document.importNode(find("template[data-consent-one]", bar).content, true).firstElementChild;
    one.dataset.consentAnnouncement = item.key;
    one.dataset.ordinal = item.ordinal;
    for (const name of ["key", "version"]) find(`[name=${name}]`, one).value = item[name];
    for (const text of one.querySelectorAll("[data-consent-text]")) text.textContent = item[text.dataset.consentText];
    for (const link of one.querySelectorAll("[data-consent-href]")) {
      const href = item[link.dataset.consentHref];
      if (href) link.href = href;
      else link.remove();
    }
    bar.append(one);
    return one;
  }

  function show(items) {
    const open = new Map(items.map((item) => [`${item.key}.${item.ordinal}`, item]));
    for (const one of all()) one.hidden = !open.has(idOf(one)) || "seen" in one.dataset;
    const there = new Map(all().map((one) => [idOf(one), one]));
    for (const [id, item] of open) {
      const one = there.get(id) || made(item);
      if (!item.told && !one.hidden) watcher.observe(one);
    }
    tidy();
  }

  /* What was really visible is recorded, once. */
  const watcher = window.IntersectionObserver
    ? new IntersectionObserver(
        (entries) => {
          for (const { isIntersecting, target } of entries) {
            if (!isIntersecting) continue;
            watcher.unobserve(target);
            post(target, { decision: "shown" }).catch(() => {});
          }
        },
        { threshold: 0.5 },
      )
    : { observe() {} };

  async function refresh() {
    const response = await fetch(bar.dataset.status, { headers: { Accept: "application/json" } });
    if (response.ok) show((await response.json()).announcements || []);
  }

  async function acknowledge(one) {
    try {
      await post(one, { decision: "seen" });
    } catch {
      find("[data-consent-error]", one).textContent = bar.dataset.error;
      return;
    }
    one.dataset.seen = ""; /* whatever an earlier question still answers */
    one.hidden = true;
    tidy();
    const next = all().find((other) => !other.hidden);
    const target = next ? find("button", next) : find("main") || find("h1");
    if (target && target.tabIndex < 0) target.tabIndex = -1;
    target?.focus({ preventScroll: true });
  }

  /* ---- a notice at collection ---- */

  async function answer(form, button) {
    const line = find("[data-consent-answer]", form);
    const extra = button.name ? { [button.name]: button.value } : {};
    line.textContent = "";
    try {
      const said = (await post(form, extra)).asked;
      const granted = said.status === "given";
      line.textContent = granted ? form.dataset.given : form.dataset.refused;
      const asked = said.category ? { category: said.category } : { purpose: said.purpose };
      const detail = { ...asked, scope: said.scope, granted };
      form.dispatchEvent(new CustomEvent("consentkit:notice", { bubbles: true, detail }));
      if (window.BroadcastChannel) {
        const channel = new BroadcastChannel("consentkit"); /* the banner's script, here and in other tabs */
        channel.postMessage("");
        channel.close();
      }
    } catch (problem) {
      if (problem.status !== 409 && !problem.headers?.get("Location")) {
        line.textContent = form.dataset.error;
        return;
      }
      for (const [name, value] of Object.entries(extra)) {
        const input = document.createElement("input");
        Object.assign(input, { type: "hidden", name, value });
        form.append(input);
      }
      HTMLFormElement.prototype.submit.call(form); /* the text has changed, or the age comes first: the server leads on */
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target.closest(`${ASK},${ONE}`);
    const button = event.submitter;
    if (!form || !button) return;
    if (form.matches(ASK)) {
      event.preventDefault();
      answer(form, button);
    } else if (bar?.contains(form)) {
      event.preventDefault();
      acknowledge(form);
    }
  });

  if (bar) {
    hideSeen();
    refresh().catch(() => {});
  }
})();

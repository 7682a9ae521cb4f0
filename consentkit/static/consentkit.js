/* consentkit: the banner, the dialog and gated tags. Everything also works without this file, by plain forms.
   It reads data-action, data-status, data-revision, data-gpc and data-gcm of its own tag. */
(() => {
  "use strict";
  if (window.consentkit) return;

  const own = document.currentScript;
  const page = own.dataset;
  const html = document.documentElement.dataset;
  const find = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const on = (type, listener, target = document) => target.addEventListener(type, listener);

  const FORM = "[data-consent-form]";
  const EMBED = "[data-consent-embed]";
  const DIALOG = "[data-consent-dialog]";
  const NOTE = "[data-consent-note]";
  const GATED = 'script[type="text/plain"][data-category],template[data-category],[data-category][data-src]';
  const SCRIPT_TYPE = /^$|^module$|javascript$/i;

  const ran = new Set(); /* keys of which something runs on this page */
  let state = { decided: false, granted: [] };
  let told = "banner,false,"; /* the gist of it */
  let seen = ""; /* the cookie when it was last looked at */
  let busy = null; /* the answer that is on its way */
  let turn = 0; /* answers that were recorded, here or in another tab */
  let leaving = false;
  let opener = null;
  let answered = false; /* whether the dialog closed upon an answer */
  let queue = Promise.resolve();
  let channel = null;

  /* ---- what is known ---- */

  const allows = (key) => key === "necessary" || state.granted.includes(key);
  const cookie = () => (/(?:^|; )consent_hint=([^;]*)/.exec(document.cookie) || ["", ""])[1];
  const keyOf = (box) => box.dataset.key || box.value;
  const asked = () => all(`${DIALOG} [name=category],${DIALOG} [name=purpose]`).map(keyOf);

  const gist = ({ shown, gpc, granted }) => [shown, !!gpc, granted].join();

  /* What silence allows is known for a day, and nothing from before a signal; see head.js. */
  function hint() {
    const [revision, mark = "", ...granted] = (seen = cookie()).split("~");
    const day = /\d+/.exec(mark);
    const late = day && day != ((Date.now() / 864e5) | 0);
    const deaf = navigator.globalPrivacyControl && !/[gh]/.test(mark);
    return {
      fresh: revision === page.revision && !late && !deaf,
      decided: /^[^u]/.test(mark),
      shown: { u: "banner", n: "notice" }[mark[0]],
      unasked: day,
      gpc: /g/.test(mark),
      granted,
    };
  }

  /* Whether the server left something out of this page, or put it in, and would not now. */
  const stale = () =>
    all("[data-consent-private]").some((tag) => allows(tag.dataset.consentPrivate) !== ("consentShown" in tag.dataset));

  /* `anew`: the page had been made by an older answer. */
  function apply(next, source, anew) {
    const was = state.granted;
    const changed = next.changed || [
      ...next.granted.filter((key) => !was.includes(key)),
      ...was.filter((key) => !next.granted.includes(key)),
    ];
    state = {
      decided: !!next.decided,
      granted: next.granted,
      denied: next.denied || asked().filter((key) => !next.granted.includes(key)),
      changed,
      source,
      revision: next.revision || page.revision,
      id: next.id || null,
      at: next.at || null,
    };
    told = gist(next);
    html.consent = { banner: "undecided", notice: "notice" }[next.shown] || "decided";
    html.consentGranted = state.granted.join(" ");
    html.consentSignal = next.gpc ? "gpc" : "";
    document.documentElement.toggleAttribute("data-consent-relaxed", !!next.unasked?.length);
    signal("update");
    const event = new CustomEvent("consentkit:change", { detail: { ...state }, cancelable: true });
    const stay = !document.dispatchEvent(event);
    if (!stay && ([...ran].some((key) => !allows(key)) || (anew && stale()))) leaving = true; /* a new page stops what runs */
    else rescan();
  }

  /* The cookie may have changed elsewhere: in another tab, or while this page was in the back-forward cache. */
  async function refresh(overtaken) {
    if (cookie() === seen && !overtaken) return;
    const anew = seen;
    const began = turn;
    let next = hint();
    let source = "restored";
    if (!next.fresh || overtaken) {
      next = await ask(page.status).catch(() => ({ shown: "banner", granted: [] }));
      await busy;
      if (began !== turn) return refresh(true); /* said before the answer was heard: so is the cookie that came with it */
      seen = cookie();
      if (next.gpc) source = "gpc";
    }
    if (gist(next) !== told) apply({ ...next, changed: null }, source, anew);
    if (leaving) location.reload();
  }

  /* ---- gated tags ---- */

  const identity = (text) => text;
  const policy = (() => {
    try {
      return trustedTypes.createPolicy("consentkit", { createScript: identity, createScriptURL: identity });
    } catch {
      return { createScript: identity, createScriptURL: identity };
    }
  })();

  const keysOf = (tag) => tag.dataset.category.trim().split(/\s+/);

  /* A tag without the page's nonce did not come from the page's author. */
  const trusted = (tag) => !own.nonce || tag.nonce === own.nonce;

  /* `once`: the visitor asked for just this. */
  async function run(tags, waiting = [], once) {
    const may = (tag) => tag.isConnected && (once || keysOf(tag).every(allows));
    for (const tag of tags) {
      if (!may(tag)) continue;
      if (tag.localName === "script") {
        if (tag.type !== "text/plain" || !trusted(tag)) continue;
        const { src, type } = tag.dataset;
        const script = tag.cloneNode();
        script.type = type || "text/javascript";
        script.async = tag.hasAttribute("async");
        if (src) script.src = policy.createScriptURL(src);
        else script.text = policy.createScript(tag.textContent);
        if (!script.src) await Promise.all(waiting);
        else if (!script.async) waiting.push(new Promise((done) => ["load", "error"].map((e) => on(e, done, script))));
        if (!may(tag)) continue;
        tag.replaceWith(script);
      } else if (tag.localName === "template") {
        const content = document.importNode(tag.content, true);
        const blocks = all("script", content);
        const scripts = blocks.filter((script) => SCRIPT_TYPE.test(script.type));
        for (const script of blocks) script.text = policy.createScript(script.text); /* a copy is not trusted */
        for (const script of scripts) {
          script.dataset.type = script.type;
          script.dataset.category = tag.dataset.category;
          script.type = "text/plain";
        }
        tag.closest(EMBED)?.setAttribute("data-consent-shown", "");
        tag.replaceWith(content);
        await run(scripts, waiting, once);
      } else {
        const url = new URL(tag.dataset.src, document.baseURI);
        tag.removeAttribute("data-src");
        if (/^https?:$/.test(url.protocol)) tag[tag.localName === "link" ? "href" : "src"] = url.href;
      }
      keysOf(tag).map((key) => ran.add(key));
    }
  }

  const enqueue = (work) => (queue = queue.then(work).catch(console.error));

  function rescan(root = document) {
    return enqueue(() => run(all(GATED, root)));
  }

  function showOnce(embed, tag) {
    enqueue(() => run([tag], [], true));
    embed.tabIndex = -1;
    embed.focus({ preventScroll: true });
  }

  /* ---- Google Consent Mode v2: one default before any tag, then one update per decision ---- */

  function signal(command) {
    if (!page.gcm) return;
    const values = {};
    for (const pair of page.gcm.split(" ")) {
      const [name, keys] = pair.split("=");
      values[name] = keys && keys.split(",").every(allows) ? "granted" : "denied";
    }
    if (command === "default") values.wait_for_update = 500;
    const layer = (window.dataLayer ||= []);
    (function () {
      layer.push(arguments);
    })("consent", command, values);
  }

  /* ---- answers ---- */

  async function ask(url, options) {
    const signal = AbortSignal.timeout(15000);
    const response = await fetch(url, { headers: { Accept: "application/json" }, signal, ...options });
    if (!response.ok) throw response;
    const answer = await response.json();
    if (!Array.isArray(answer.granted)) throw response;
    /* A signal that the server was not sent ends what silence allows all the same; a yes is later than it. */
    if (navigator.globalPrivacyControl && page.gpc) {
      const heeding = page.gpc.split(" ");
      const ended = heeding.filter((key) => answer.unasked.includes(key));
      answer.granted = answer.granted.filter((key) => !ended.includes(key));
      answer.denied.push(...ended);
      answer.gpc = !heeding.some((key) => answer.granted.includes(key));
    }
    return answer;
  }

  function answer(...what) {
    return (busy ||= send(...what).finally(() => (busy = null)));
  }

  async function send(decision, form, source, keys = []) {
    if (!form) return;
    const dialog = find(DIALOG);
    const error = find("[data-consent-error]", form);
    const body = new URLSearchParams(new FormData(form));
    body.set("decision", decision);
    for (const key of keys) body.append(find(`${DIALOG} [value="${CSS.escape(key)}"]`)?.name || "purpose", key);
    error.textContent = "";
    form.setAttribute("aria-busy", "true");
    try {
      apply(await ask(form.getAttribute("action"), { method: "POST", body }), source, true);
    } catch (problem) {
      const elsewhere = problem.headers?.get("Location");
      if (elsewhere) location.assign(elsewhere); /* something else has to be answered first: the age */
      else if (problem.status === 409) {
        /* The text has changed since this page was made: answer on the page that is never cached. */
        const next = encodeURIComponent(location.pathname + location.search);
        location.assign(`${form.getAttribute("action")}?outdated=1&locale=${body.get("locale")}&next=${next}`);
      } else if (form.getClientRects().length) error.textContent = (find(NOTE) || form).dataset.error;
      else say("error");
      refresh(); /* a no is recorded also where the yes beside it has to wait */
      return;
    } finally {
      form.removeAttribute("aria-busy");
    }
    turn += 1;
    seen = cookie();
    answered = true;
    if (dialog?.open) dialog.close();
    channel?.postMessage("");
    if (!leaving) return decision === "defer" ? hush() : say(decision);
    history.replaceState({ ...history.state, consentkit: decision }, "");
    location.reload();
  }

  function say(what) {
    const note = find(NOTE);
    if (!note) return;
    note.hidden = false;
    find("p", note).textContent = note.getAttribute(`data-${what}`) || note.dataset.save;
    note.focus();
  }

  function hush() {
    find(NOTE).hidden = true;
    const target = opener?.getClientRects().length ? opener : find("main") || find("h1");
    if (target && target.tabIndex < 0) target.tabIndex = -1;
    target?.focus({ preventScroll: true });
  }

  function preferences(key, from = document.activeElement) {
    const dialog = find(DIALOG);
    if (!dialog?.showModal) return false;
    opener = from;
    for (const box of all("input[type=checkbox]", dialog)) box.checked = allows(keyOf(box));
    for (const error of all("[data-consent-error]")) error.textContent = "";
    answered = false;
    if (!dialog.open) dialog.showModal();
    if (key) find(`[value="${CSS.escape(key)}"]`, dialog)?.focus();
    return true;
  }

  function show() {
    html.consent = "undecided";
    find("[data-consent-banner] button")?.focus();
  }

  /* ---- listeners: all on the document, so that swapped pages need no new ones ---- */

  const sourceOf = (element) =>
    element.closest(DIALOG) ? "dialog" : element.closest("[data-consent-banner]") ? "banner" : element.closest(EMBED) ? "embed" : "api";

  on("submit", (event) => {
    const button = event.submitter;
    const form = button?.closest(`${FORM},${EMBED} form`);
    if (!form || button.name !== "decision") return;
    if (button.value === "once") {
      const embed = form.closest(EMBED);
      const tag = find("template", embed);
      if (!tag) return; /* the content is with the server */
      event.preventDefault();
      return showOnce(embed, tag);
    }
    event.preventDefault();
    answer(button.value, form, sourceOf(button));
  });

  on("click", (event) => {
    const dialog = find(DIALOG);
    if (event.target === dialog) return dialog.close(); /* the backdrop is no answer */
    const element = event.target.closest("[data-consent-action]");
    let action = element?.dataset.consentAction;
    if (!action || element.name === "decision") return;
    if (action === "save") action = "preferences"; /* outside of the dialog nothing was chosen yet */
    if (action === "preferences" ? preferences(element.dataset.consentKey, element) : find(FORM)) event.preventDefault();
    if (action === "show") show();
    else if (action === "close") dialog.close();
    else if (action === "hide") hush();
    else if (action !== "preferences") answer(action, find(FORM), "api");
  });

  /* Closed without an answer: kept as evidence, only of somebody who is known. */
  document.addEventListener("close", (event) => {
    const form = event.target.matches?.(DIALOG) && !answered && cookie() && find(FORM);
    const body = form && new URLSearchParams({ decision: "defer", notice: form.elements.namedItem("notice").value });
    if (body) ask(form.getAttribute("action"), { method: "POST", body }).catch(() => 0);
  }, true);

  on("pageshow", (event) => {
    if (window.BroadcastChannel) {
      channel = new BroadcastChannel("consentkit");
      channel.onmessage = () => {
        turn += 1;
        refresh();
      };
    }
    if (event.persisted) refresh();
  }, window);
  on("pagehide", () => channel?.close(), window); /* an open channel would keep the page out of the cache */
  on("visibilitychange", () => document.hidden || refresh());
  for (const swapped of ["turbo:load", "htmx:afterSwap"]) on(swapped, () => rescan());

  window.consentkit = {
    allows,
    preferences: (key) => preferences(key),
    rescan,
    show,
    get state() {
      return { ...state };
    },
    /* decide("accept-all" | "reject-all" | "withdraw-all"), decide("save", keys that are allowed) */
    decide: (decision, keys) => answer(decision, find(FORM), "api", keys),
  };

  /* ---- start ---- */

  signal("default");
  const first = hint();
  if (first.fresh) apply(first, "restored");
  else {
    rescan(); /* what is necessary */
    if (seen || "ask" in page) {
      if (seen) told = ""; /* the page was painted by an old hint */
      seen = null;
      refresh();
    }
  }
  const said = history.state?.consentkit;
  if (said) {
    history.replaceState({ ...history.state, consentkit: undefined }, "");
    say(said);
  }
})();

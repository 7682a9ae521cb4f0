/* consentkit head: runs while the page is parsed, so that style sheets know the answer before first paint.
   Cookie consent_hint: <revision>~<mark>~<key>~<key>; the server never trusts it. The mark: d decided, u undecided, n a
   notice is shown, a it was put away; the day with which it ends; g or h: written with the signal switched on. */
((doc) => {
  const html = doc.documentElement.dataset;
  const [revision, mark = "", ...keys] = (/(?:^|; )consent_hint=([^;]*)/.exec(doc.cookie) || ["", ""])[1].split("~");
  const known = revision === doc.currentScript.dataset.revision;
  const gpc = navigator.globalPrivacyControl;
  const day = /\d+/.exec(mark);
  const fresh = known && (!day || day == ((Date.now() / 864e5) | 0)) && (!gpc || /[gh]/.test(mark));
  html.consent = (known && { d: "decided", a: "decided", n: "notice" }[mark[0]]) || "undecided";
  html.consentGranted = fresh ? keys.join(" ") : "";
  if (fresh && day) html.consentRelaxed = "";
  if (fresh ? /g/.test(mark) : gpc) html.consentSignal = "gpc";
})(document);
